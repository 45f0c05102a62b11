"""The model card of a release: docs/model-card.md, and model_card.json for the subnet.

`python -m tasks.tools.model_card` makes the card from the committed reports. With a release (its id, its folder or
`champion`) the figures of stage 1 are those of its manifest. `--pictures` first draws the sheet of rendered challenge
pictures that the release, without one the champion, answers wrong. `--hotkey` writes model_card.json beside the card.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from cascade.engines.base import EngineError
from cascade.release.store import CHAMPION, RELEASES, Release, champion, load_release
from tasks.common.files import write_bytes
from tasks.config import Params, load_params
from tasks.config.clock import SubmissionParams
from tasks.release.card.figures import SHEET
from tasks.release.card.page import card_text
from tasks.release.card.reports import Reports
from tasks.release.card.submission import own_version, release_card
from tasks.release.card.subnet import ModelCard, write_card

OUT, PULLED = Path("docs/model-card.md"), Path("data/pulled")


class NoReleaseError(ValueError):
    """The release that is asked for is not there."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options, load_params())
    except (ValueError, OSError, EngineError) as error:
        print(f"model_card: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, params: Params) -> None:
    release = find_release(options.release) if options.release else None
    if options.pictures:
        from tasks.release.card.errors import write_sheet

        shown = write_sheet(release or find_release(CHAMPION), params.validate_, PULLED, SHEET)
        print(f"{SHEET}: {shown} pictures that are answered wrong")
    reports = Reports(Path(), release)
    write_bytes(options.out, card_text(reports, params).encode())
    print(options.out)
    if options.hotkey:
        print(write_card(options.out.parent, subnet_card(reports, options.hotkey, options.version, time.time())))


def find_release(name: str, releases: Path = RELEASES) -> Release:
    """Open a release by `champion`, its id, or its folder.

    Raises:
        NoReleaseError: there is none.
        cascade.release.store.ReleaseError: it is incomplete or altered.
    """
    if name == CHAMPION:
        found = champion(releases)
        if found is None:
            raise NoReleaseError(f"{releases}: no release is champion; `make run` builds and promotes one")
        return found
    folder = releases / name if (releases / name).is_dir() else Path(name)
    if not folder.is_dir():
        raise NoReleaseError(f"{name}: no such release in {releases}; `streetvision status` names the champion")
    return load_release(folder)


def subnet_card(reports: Reports, hotkey: str, number: str, now: float) -> ModelCard:
    """The card of the subnet for a hotkey (ss58 address), a version (X.Y.Z) and a Unix time in seconds.

    Raises:
        CardError: a validator would refuse it.
    """
    return release_card(reports, SubmissionParams.model_construct(submitted_by=hotkey, version=number), now)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tasks.tools.model_card", description=__doc__)
    parser.add_argument("release", nargs="?", help="id, folder or `champion`; without one the reports of the last run")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the card, {OUT} by default")
    parser.add_argument("--pictures", action="store_true", help=f"draw {SHEET} first; needs data/pulled and a release")
    parser.add_argument("--hotkey", help="ss58 address of the miner's hotkey: writes model_card.json beside the card")
    parser.add_argument("--version", default=own_version(), help="of model_card.json, X.Y.Z; that of the package")
    return parser


if __name__ == "__main__":
    sys.exit(main())
