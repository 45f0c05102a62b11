"""The report of a drift run: figures of the last dates, and the pictures that moved most, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.common.files import write_bytes
from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.monitoring.drift_state import Answer

# reports that stay: about as long as the inbox keeps the pictures that they show
KEPT = 30
SHOWN_DATES = 14
CELLS = Cells(width=240, height=160, columns=6, edge=4, caption=18)


def write_report(
    folder: Path,
    date: str,
    figures: Mapping[str, Mapping[str, Any]],
    farthest: Sequence[tuple[float, Answer]],
    load: Callable[[str], bytes | None],
) -> Path:
    """Write `<date>.md` and its contact sheet `<date>.jpg`, and remove the oldest ones.

    Args:
        folder: of the release.
        date: of the run.
        figures: of all dates.
        farthest: pictures of the window, the one that moved most first, with how far.
        load: the file of a picture; None where it is gone.

    Returns:
        The path of the Markdown file.
    """
    from tasks.data.pictures import decode_small

    tiles = [
        Tile(decode_small(data, CELLS.width), f"{far:.3f}  p {one.probability:.2f}  {one.exit}")
        for far, one in farthest
        if (data := load(one.sha256)) is not None
    ]
    contact_sheet(tiles, folder / f"{date}.jpg", CELLS)
    page = folder / f"{date}.md"
    write_bytes(page, markdown(date, figures).encode())
    for old in sorted(folder.glob("*.md"))[:-KEPT]:
        old.unlink()
        old.with_suffix(".jpg").unlink(missing_ok=True)
    return page


def markdown(date: str, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The page without its sheet: a row a date, the newest first."""
    dates = [day for day in sorted(figures, reverse=True) if day <= date][:SHOWN_DATES]
    rows = [
        f"| {day} | {' | '.join(_cell(figures[day]['signals'][name]) for name in figures[day]['signals'])} "
        f"| {'yes' if figures[day]['breach'] else 'no'} |"
        for day in dates
    ]
    names = list(figures[date]["signals"])
    counts = figures[date]["pictures"]
    return "\n".join(
        [
            f"# Drift, {date}",
            "",
            f"{counts['current']} pictures of the random slice against the {counts['reference']} that this release "
            "answered first. Each figure: distance (corrected p-value).",
            "",
            f"| date | {' | '.join(names)} | breach |",
            "|---" * (len(names) + 2) + "|",
            *rows,
            "",
            f"The pictures that moved most, with how far, probability and exit: `{date}.jpg`.",
            "",
        ]
    )


def _cell(signal: Mapping[str, float]) -> str:
    return f"{signal['score']:.3g} ({signal['p']:.3g})"
