#!/usr/bin/env bash
# Install Postgres (a package of Debian or Ubuntu), see ../apt.sh.
exec "$(dirname "$0")/../apt.sh" Postgres postgresql initdb
