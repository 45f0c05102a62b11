"""`streetvision clean`: remove old releases and caches that nobody needs, by section `retention`."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.config import ConfigError, Params, load_params
from tasks.release.promotion.lock import LockedError, release_lock
from tasks.release.retention import Say, find_unneeded, remove
from tasks.tools.promote import errors

app = typer.Typer()
MIB = 1 << 20


@app.command("clean")
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and remove nothing.")] = False,
) -> None:
    """Remove old releases, private caches and logs that nobody needs, by section `retention` of params.yaml.

    The live release, the one that a rollback goes to, and the newest ones of the ledger stay; so does all that cannot
    be made again. DVC's cache is DVC's: `dvc gc --all-commits` removes what no commit names.
    """
    with errors("clean", ConfigError, LockedError):
        clean_up(load_params(), print, dry_run=dry_run)


def clean_up(params: Params, say: Say, *, dry_run: bool = False) -> None:
    """Remove what nobody needs while no promotion runs, and say what it was.

    Raises:
        LockedError: a promotion holds the lock for too long.
    """
    with release_lock("clean", say, params.promotion.lock_seconds):
        found = find_unneeded(params.retention)
        if dry_run:
            for one in found:
                say(f"would remove {one.path} ({one.bytes / MIB:.1f} MiB): {one.why}")
            return
        freed = remove(found, say)
        say(f"{freed / MIB:.1f} MiB are free again" if found else "nothing is old enough to go")


if __name__ == "__main__":
    app()
