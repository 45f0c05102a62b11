#!/usr/bin/env bash
# Install Prometheus (a package of Debian or Ubuntu), see ../apt.sh.
exec "$(dirname "$0")/../apt.sh" Prometheus prometheus promtool
