#!/usr/bin/env bash
# apt.sh TITLE PACKAGE PROGRAM: install a package of Debian or Ubuntu where its program is missing and apt-get may be used;
# else say so, and succeed: the tests that need it are skipped.
set -euo pipefail
title="$1" package="$2" program="$3"
PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr " " :)"
command -v "$program" >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$title is not installed: the tests that need it are skipped (as root: apt-get install $package)" >&2
    exit 0
fi
# the package would start a service of the system; status 101 keeps it from that
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y --no-install-recommends "$package")
{ "${install[@]}" || { apt-get update && "${install[@]}"; }; } >/dev/null 2>&1 ||
    echo "$title could not be installed: the tests that need it are skipped" >&2
