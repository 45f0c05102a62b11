#!/usr/bin/env bash
# Install Chromium (Debian's package) where it is missing and apt-get may be used; else say so, and succeed.
set -euo pipefail
command -v chromium >/dev/null && exit 0
# Ubuntu's package of this name is an installer of a snap, which containers cannot run
if [ "$(id -u)" != 0 ] || ! grep -qs '^ID=debian' /etc/os-release || ! command -v apt-get >/dev/null; then
    echo "Chromium is not installed: the tests of the page are skipped (on Debian, as root: apt-get install chromium)" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }; } \
    >/dev/null 2>&1 || echo "Chromium could not be installed: the tests of the page are skipped" >&2
