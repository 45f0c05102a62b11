"""A need held against the Hub and the disk, and the table that a person agrees to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common import hub
from tasks.tools.downloads import places
from tasks.tools.downloads.catalogue import GB, NOT_KNOWN, Need, Unfetched, care

if TYPE_CHECKING:
    from rich.table import Table

SPARE_BYTES = 1 << 30
# where no terminal says how wide it is
WIDTH = 170


class SpaceError(RuntimeError):
    """The download would fill a disk."""


@dataclass(frozen=True)
class DownloadItem:
    """A need and what the Hub says of it.

    Attributes:
        need: of the profile.
        listing: None where no request was made, or the Hub gave no answer.
        there: whether its step would fetch nothing.
        left: bytes to fetch, where there is a listing.
        trouble: why it cannot be fetched, or "".
    """

    need: Need
    listing: hub.Listing | None = None
    there: bool = False
    left: int = 0
    trouble: str = ""

    @property
    def licence(self) -> str | None:
        """Of the catalogue, or else of the card on the Hub."""
        return self.need.facts.licence or (self.listing.licence if self.listing else None)

    @property
    def gated(self) -> bool | None:
        """What the Hub says goes before the catalogue."""
        return self.listing.gated if self.listing else self.need.facts.gated

    @property
    def size(self) -> str:
        """As text: exact where the Hub gives it, else the catalogue's."""
        if self.there:
            return "there"
        if self.listing is None:
            known = self.need.facts.gb
            return f"about {known:g} GB" if known else NOT_KNOWN
        left = f", {amount(self.left)} left" if self.left < self.listing.size else ""
        return f"{amount(self.listing.size)}{left}"


def amount(size: int) -> str:
    """Bytes as text, in units of 10^9 or 10^6."""
    return f"{size / GB:.2f} GB" if size >= GB else f"{size / 10**6:.2f} MB"


def item_of(need: Need) -> DownloadItem:
    """Request the list of a snapshot's files, unless its step has it already."""
    if places.finished(need):
        return DownloadItem(need, there=True)
    snapshot = places.snapshot_of(need)
    try:
        listing = hub.list_files(snapshot)
    except hub.HubError as error:
        return DownloadItem(need, trouble=str(error))
    there = not places.has_last_step(need) and not hub.missing(snapshot, listing)
    return DownloadItem(need, listing, there, hub.bytes_left(snapshot, listing))


def check_space(items: Sequence[DownloadItem]) -> None:
    """Refuse what would fill a disk.

    Raises:
        SpaceError: says what the disk needs and has.
    """
    from huggingface_hub import constants

    wanted: dict[int, tuple[Path, int]] = {}
    for item in items:
        at = (places.snapshot_of(item.need).folder or Path(constants.HF_HUB_CACHE)).absolute()
        there = next(folder for folder in (at, *at.parents) if folder.exists())
        disk = there.stat().st_dev
        copied = item.listing.size if item.listing and places.is_copied(item.need) else 0
        wanted[disk] = (there, wanted.get(disk, (there, 0))[1] + item.left + copied)
    for folder, size in wanted.values():
        free = shutil.disk_usage(folder).free
        if free < size + SPARE_BYTES:
            raise SpaceError(
                f"{folder}: {size / GB:.1f} GB and 1 GiB to spare are needed on this disk, {free / GB:.1f} GB are free"
            )


def show(items: Sequence[DownloadItem], extra: Sequence[Unfetched]) -> None:
    """Print the table, what to know of the licences, and on stderr what stands in the way."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(_table(items, extra))
    lines = [_caution(item.need.repo, item.licence, item.gated) for item in items]
    for line in [*lines, *(_caution(one.what, one.licence, None) for one in extra)]:
        if line:
            console.print(line, markup=False)
    for item in items:
        if item.trouble:
            print(item.trouble, file=sys.stderr)


def _caution(what: str, licence: str | None, gated: bool | None) -> str:
    notes = [care(licence)] if care(licence) else []
    notes += ["gated: its owner has to grant your account access first"] if gated else []
    return f"{what}, {licence or 'unknown licence'}: {'; '.join(notes)}" if notes else ""


def _table(items: Sequence[DownloadItem], extra: Sequence[Unfetched]) -> Table:
    from rich.table import Table

    table = Table("stage", "repo", "revision", "size", "licence", "gated", "goes to", "note")
    for item in items:
        need, gated = item.need, {True: "yes", False: "no", None: NOT_KNOWN}[item.gated]
        licence, place = item.licence or NOT_KNOWN, places.shown(need)
        table.add_row(need.stage, need.repo, need.revision[:12], item.size, licence, gated, place, need.facts.note)
    for one in extra:
        table.add_row(one.stage, one.what, "", "nothing", one.licence, "no", "", one.note)
    return table
