#!/usr/bin/env bash
# Install nginx (a package of Debian or Ubuntu), see ../apt.sh.
exec "$(dirname "$0")/../apt.sh" nginx nginx-light nginx
