"""`streetvision restore`: serve the champion of this revision again, from a fresh clone and DVC's remote alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cascade.release.store import Release
from flows.dvc.errors import PipelineError
from flows.dvc.remote import LOCAL, pull_outputs
from tasks.config import ObjectStoreParams, load_params
from tasks.release.collect import CLASSIFIER, CollectError, assemble, locked_stages, switched_on
from tasks.release.ledger import LEDGER, read
from tasks.release.promotion.doors import Request, door, promote_release
from tasks.release.registry import register
from tasks.release.tracking import prepare
from tasks.tools.promote import errors

app = typer.Typer()
# what a release is built of and checked with, besides the stages that it switches on
OUTPUTS = (CLASSIFIER.as_posix(), "models/cascade", "data/pulled")


@app.command("restore")
def restore(
    ledger: Annotated[Path | None, typer.Option(help="A copy of var/ledger.jsonl, where one was kept.")] = None,
    why: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "restored from DVC's remote",
) -> None:
    """Build the release of the committed dvc.lock from DVC's remote, and serve it.

    With a copy of the ledger, the release must be the one that its last line names: promotions and who made them are
    then known again.
    """
    with errors("restore", PipelineError, CollectError):
        params = load_params()
        prepare(params)
        release = rebuild(Path.cwd(), params.stores.s3)
        if ledger is not None:
            take_ledger(ledger, release)
        register(params, release, "restore")
        with door(params, "restore", print) as front:
            service = promote_release(params, front, release, Request(why), print)
        print(f"release {release.id} is champion and answers at {service.url}")


def rebuild(root: Path, s3: ObjectStoreParams = LOCAL) -> Release:
    """Get the files of the release from the remote, and build it.

    Raises:
        PipelineError: the remote cannot be reached or lacks a file.
        CollectError: dvc.lock or the committed reports are missing.
    """
    made = {out["path"] for stage in locked_stages(root).values() for out in stage.get("outs", ())}
    pull_outputs(root, [output for output in OUTPUTS if output in made], print, s3)
    folders = [folder.relative_to(root).as_posix() for folder in switched_on(root).values()]
    # RapidOCR is switched on without files of ours
    if needed := [folder for folder in folders if folder in made]:
        pull_outputs(root, needed, print, s3)
    return assemble(root)


def take_ledger(copy: Path, release: Release, ledger: Path = LEDGER) -> None:
    """Put a copy of the ledger in place where there is none yet.

    Raises:
        CollectError: it names another release, or a ledger is there already.
    """
    last = read(copy)[-1:]
    if not last or last[0].release != release.id:
        named = last[0].release if last else "no release"
        raise CollectError(f"{copy}: names {named}, and this revision makes {release.id}; check out the revision of it")
    if ledger.exists():
        raise CollectError(f"{ledger}: is there already; restore works in a fresh clone")
    ledger.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(copy, ledger)


if __name__ == "__main__":
    app()
