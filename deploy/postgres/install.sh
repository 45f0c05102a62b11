#!/usr/bin/env bash
# Install Postgres (Debian's or Ubuntu's package) where it is missing and apt-get may be used; else say so, and succeed.
set -euo pipefail
PATH="$PATH:$(echo /usr/lib/postgresql/*/bin | tr " " :)"
command -v initdb >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Postgres is not installed: the tests that need it are skipped (as root: apt-get install postgresql)" >&2
    exit 0
fi
# the package would start a service of the system; status 101 keeps it from that
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
export DEBIAN_FRONTEND=noninteractive
{ apt-get install -y --no-install-recommends postgresql || { apt-get update && apt-get install -y --no-install-recommends postgresql; }; } \
    >/dev/null 2>&1 || echo "Postgres could not be installed: the tests that need it are skipped" >&2
