"""`python -m tasks.tools.secret_scan`: no secret may be committed. `make lint` runs it, and so do pre-commit and CI.

It looks at the files that git has or would take: for recovery phrases and keys of wallets, and by detect-secrets for
tokens, passwords and private keys that `.secrets.baseline` does not know. `--update` writes the baseline anew, after a
person has seen that what is found is no secret; phrases and keys of wallets can't be put there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cascade.extras import require
from tasks.secret_scan.files import read_text, tracked_names
from tasks.secret_scan.known_kinds import BASELINE, new_leaks, write_baseline
from tasks.secret_scan.leak import Leak
from tasks.secret_scan.scan import wallet_leaks


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.secret_scan", description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {BASELINE} anew; look at each line first")
    options = parser.parse_args(arguments)
    require("the scan for secrets", "detect_secrets", "mnemonic")
    root = Path()
    names = tracked_names(root)
    if options.update:
        print(f"{BASELINE}: {write_baseline(root, names)} known")
    try:
        found = find_leaks(root, names)
    except ValueError as error:
        print(f"secret_scan: {error}", file=sys.stderr)
        return 1
    for leak in found:
        print(leak, file=sys.stderr)
    if found:
        print(REMEDY, file=sys.stderr)
    return 1 if found else 0


REMEDY = (
    "Take it out of the file; a secret that was ever pushed has to be replaced where it is used. What is no secret "
    "gets `# pragma: allowlist secret` at the end of its line, or goes into the baseline with --update."
)


def find_leaks(root: Path, names: Sequence[str]) -> list[Leak]:
    """Give the secrets in these files.

    Raises:
        ValueError: the baseline cannot be read.
    """
    texts = ((name, read_text(root / name)) for name in names)
    wallets = [leak for name, text in texts if text is not None for leak in wallet_leaks(name, text)]
    return [*wallets, *new_leaks(root, names)]


if __name__ == "__main__":
    sys.exit(main())
