"""`streetvision card`: check a model_card.json as the subnet's validators once did, or write that of a release."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cascade.config import ConfigError
from cascade.release.store import CHAMPION, ReleaseError
from tasks.config import load_params
from tasks.doctor.finding import Finding
from tasks.doctor.miner.model import card_findings
from tasks.doctor.show import counts
from tasks.release.card.submission import write_submission
from tasks.release.card.subnet import FILE, CardError
from tasks.release.promotion.gating import REPORTS
from tasks.tools.model_card import NoReleaseError, find_release

app = typer.Typer(no_args_is_help=True)
Hotkey = Annotated[str | None, typer.Option(help="ss58 address; submission.submitted_by by default.")]


@app.callback()
def _card() -> None:
    """The model card of the subnet."""


@app.command()
def check(path: Annotated[Path, typer.Argument(help=f"{FILE}, or its folder.")], hotkey: Hotkey = None) -> None:
    """Check fields, hotkey, time and age; an error gives exit code 1."""
    try:
        params = load_params()
    except ConfigError as error:
        _refuse(error)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        _refuse(FileNotFoundError(f"{path}: no such file"))
    wanted = hotkey or params.submission.submitted_by
    found = list(card_findings(path, params.clock, params.submission, wanted, time.time()))
    for one in found:
        print(_line(one))
    if counts(found)["error"]:
        raise typer.Exit(1)


@app.command()
def write(
    release: Annotated[str, typer.Argument(help="Its id, its folder, or champion.")] = CHAMPION,
    hotkey: Hotkey = None,
    version: Annotated[str | None, typer.Option(help="X.Y.Z; submission.version by default.")] = None,
    out: Annotated[Path | None, typer.Option(help=f"The folder; {REPORTS}/RELEASE by default.")] = None,
) -> None:
    """Write model_card.json, and registration.json where uid and repository are set; a promotion does it too."""
    try:
        params, found = load_params(), find_release(release)
        given = {"submitted_by": hotkey, "version": version}
        changes = {name: value for name, value in given.items() if value is not None}
        submission = params.submission.model_validate({**params.submission.model_dump(), **changes})
        if submission.submitted_by is None:
            raise CardError("no hotkey: --hotkey SS58, or submission.submitted_by in params.yaml")
        written = write_submission(out or REPORTS / found.id, found, submission, time.time())
    except (ConfigError, ReleaseError, NoReleaseError, CardError, ValueError, OSError) as error:
        _refuse(error)
    for path in written:
        print(path)
    if not written:
        print("the card is there already and stays: a release grows no younger; remove it to have it written anew")


def _line(one: Finding) -> str:
    remedy = f" → {one.remedy}" if one.remedy and one.state != "ok" else ""
    return f"{one.state}: {one.sentence}{remedy}"


def _refuse(error: Exception) -> NoReturn:
    print(f"card: {error}", file=sys.stderr)
    raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
