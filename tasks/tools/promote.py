"""`streetvision promote`: make a release champion by hand; the gate applies as it does to the pipeline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cascade.extras import require
from cascade.release.store import RELEASES, ReleaseError, load_release
from tasks.config import load_params
from tasks.monitoring.runs import recorded
from tasks.release.promotion.doors import Request, door, promote_release
from tasks.release.promotion.errors import PROMOTION_ERRORS
from tasks.release.promotion.plan import plan_promotion

app = typer.Typer()


@app.command("promote")
def promote(
    release: Annotated[str, typer.Argument(help="Id of a release below models/releases.")],
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")],
    override: Annotated[
        str | None, typer.Option(help="Your reason to promote although the gate's comparison is inconclusive.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Make a release champion and serve it; any failure leaves the release that serves now."""
    require("streetvision promote", "mlflow", "pyarrow")
    with errors("promote"):
        params = load_params()
        if not (RELEASES / release / "manifest.json").is_file():
            raise ReleaseError(f"{RELEASES / release}: no such release; there are: {', '.join(_known()) or 'none'}")
        request = Request(why, override=override)
        if dry_run:
            print("\n".join(plan_promotion(params, load_release(RELEASES / release), request)))
            return
        with recorded("promote", params, print), door(params, f"promotion of {release}", print) as front:
            service = promote_release(params, front, load_release(RELEASES / release), request, print)
        print(f"release {release} is champion and answers at {service.url}")


@contextmanager
def errors(command: str, *more: type[Exception]) -> Iterator[None]:
    """Turn errors of use, and those of `more`, into one line on stderr and exit code 1."""
    known: tuple[type[Exception], ...] = (*PROMOTION_ERRORS, OSError, *more)
    try:
        yield
    except known as error:
        print(f"{command}: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"{command}: {note}", file=sys.stderr)
        raise typer.Exit(1) from None


def _known() -> list[str]:
    folders = RELEASES.glob("[!.]*/manifest.json") if RELEASES.is_dir() else iter(())
    return sorted(path.parent.name for path in folders if not path.parent.is_symlink())


if __name__ == "__main__":
    app()
