#!/usr/bin/env bash
# Install Debian's Prometheus where it is missing and apt-get may be used; else say so, and succeed.
set -euo pipefail
command -v promtool >/dev/null && command -v prometheus >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Prometheus is not installed: the tests that need it are skipped (as root: apt-get install prometheus)" >&2
    exit 0
fi
# the package would start a service of the system; status 101 keeps it from that
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
export DEBIAN_FRONTEND=noninteractive
{ apt-get install -y --no-install-recommends prometheus || { apt-get update && apt-get install -y --no-install-recommends prometheus; }; } \
    >/dev/null 2>&1 || echo "Prometheus could not be installed: the tests that need it are skipped" >&2
