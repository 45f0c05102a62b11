"""The report as tables for a terminal of 80 columns, and the doubtful pictures as a contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.sheets import Cells, Tile, contact_sheet
from tasks.data.doctor.findings import Doubt, percent
from tasks.data.doctor.report import DoctorReport

if TYPE_CHECKING:
    from PIL import Image
    from rich.table import Table

CELLS = Cells(width=200, height=150, columns=4, edge=3, caption=20)
CHARACTERS = 33  # of a caption that fit a cell
MOST = 40  # pictures on a sheet
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
FRAME = "firebrick"


def tables(report: DoctorReport) -> list[Table]:
    """What there is, then what is wrong with it."""
    return [_counts(report.counts), _figures(report.counts), _findings(report)]


def write_sheet(
    doubts: Sequence[Doubt], images: Mapping[str, Image.Image], others: Mapping[str, Image.Image], path: Path
) -> int:
    """Write the contact sheet and give the number of pictures on it; without any no file is written."""
    tiles = []
    for doubt in doubts[:MOST]:
        image = (others if doubt.other else images).get(doubt.sha256)
        if image is not None:
            tiles.append(Tile(image, _short(doubt.caption), FRAME if doubt.other else None))
    if tiles:
        contact_sheet(tiles, path, CELLS)
    return len(tiles)


def _short(caption: str) -> str:
    """The end of a name tells more than its beginning."""
    return caption if len(caption) <= CHARACTERS else f"...{caption[3 - CHARACTERS :]}"


def _counts(counts: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{counts['pictures']} pictures", title_justify="left")
    for name in ("", "clear", "roadwork", "share", "places"):
        table.add_column(name, justify="left" if not name else "right")
    rows = [("all", {**counts["labels"], "places": counts["places"]["count"]})]
    rows += [(f"split {name or 'not set'}", found) for name, found in counts["splits"].items()]
    rows += [(f"source {name}", found) for name, found in counts["sources"].items()]
    for name, found in rows:
        clear, roadwork = found["clear"], found["roadwork"]
        share = percent(roadwork / max(clear + roadwork, 1))
        table.add_row(Text(name), str(clear), str(roadwork), share, str(found.get("places", "")))
    return table


def _figures(counts: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, title="Scores of the constant answer", title_justify="left")
    constant, source = counts["constant_answer"], counts["label_from_source"]
    value = f"accuracy {constant['accuracy']:.3f}, MCC {constant['mcc']:.0f}, reward {constant['reward']:.3f}"
    table.add_row("the more frequent label", value)
    accuracy = source["balanced_accuracy"]
    table.add_row(
        "label from size, camera, source", "too few pictures" if accuracy is None else f"{accuracy:.2f} balanced"
    )
    alone = sorted(source["alone"].items(), key=lambda item: -item[1])
    if alone:
        table.add_row("of these alone", Text(", ".join(f"{name} {figure:.2f}" for name, figure in alone)))
    table.add_row("near-duplicates", str(counts["near_duplicates"]))
    if against := counts.get("against"):
        table.add_row(Text(f"shared with {against['name']}"), f"{against['shared']} of its {against['pictures']}")
    if counts["left_out"]:
        table.add_row("left out", ", ".join(f"{name} {count}" for name, count in counts["left_out"].items()))
    return table


def _findings(report: DoctorReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("level", "check", "finding", title="Findings", title_justify="left", show_lines=True)
    for one in report.findings:
        table.add_row(Text(one.level, style=STYLES[one.level]), one.check, Text(one.message, overflow="fold"))
    if not report.findings:
        table.add_row("", "", "none")
    return table
