"""The section on data: what was trained on, with its licence, and whose weights are inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.config import PullParams
from tasks.data.schema import SPLITS
from tasks.release.card.reports import SHIPPED, Reports

LICENCES = Path("THIRD_PARTY.md")
TABLES = ("## Weights", "## Pictures, artwork and data")
OURS = "that of this project"
OTHER_PROFILES = ("gpu24", "refused", "an option of")  # words of rows whose things are not in this model


def data_lines(reports: Reports, pull: PullParams) -> Iterator[str]:
    """Lines of Markdown: sources, splits, shipped weights, and licences of what is not ours."""
    yield from _sources(pull)
    yield ""
    yield from _splits(reports)
    yield ""
    yield "| shipped weights | pictures | steps | licence |"
    yield "|---|---|---|---|"
    for name, words in SHIPPED.items():
        yield _shipped(reports, name, words)
    yield from _adapter_head(reports)
    yield ""
    yield from licence_rows(reports.root / LICENCES)


def _sources(pull: PullParams) -> Iterator[str]:
    main = {
        "sample": "`data/sample`: streets rendered by us with Blender; licence of this project (AGPL-3.0-or-later)",
        "hub": f"`{pull.data.repo}` at `{pull.data.revision}`, from the Hugging Face Hub; its licence is its owners'",
        "folder": "pictures of the user's own; their licence is that of their owners",
    }
    yield f"- Main source: {main[pull.data.source]}."
    for one in pull.beside:
        held = f", held out: {', '.join(one.held_out)}" if one.held_out else ""
        yield (
            f"- Further source `{one.name}`: holds {one.holds}, weight {one.weight:g}{held}. Its pictures stay with "
            "their owners and under their licences; none is in this repository or in a release."
        )
    if not pull.beside:
        yield "- Further sources: none (`pull.beside` is empty)."


def _splits(reports: Reports) -> Iterator[str]:
    counts = reports.read("pull")
    if counts is None:
        yield reports.missing("pull")
        return
    yield "| split | roadwork | clear | places |"
    yield "|---|---|---|---|"
    for name in (one for one in SPLITS if one in counts):
        row = counts[name]
        yield f"| {name} | {row['roadwork']} | {row['none']} | {row['places']} |"


def _shipped(reports: Reports, name: str, words: str) -> str:
    manifest = reports.manifest(name)
    if manifest is None:
        return f"| {words} | not there: `models/shipped/{name}/manifest.json` | | |"
    given = manifest.get("params") or manifest.get("training") or {}
    # the projector's says neither how many pictures there were nor a plain licence
    pictures = manifest.get("pictures", "training split")
    return f"| {words} | {pictures} | {given.get('steps', '')} | {manifest.get('licence', '')} |"


def _adapter_head(reports: Reports) -> Iterator[str]:
    """The row of a head that was trained after the changes it belongs to; see tasks/classifier/adapter_head.py."""
    manifest = reports.manifest("adapter") or {}
    if trained := manifest.get("head"):
        pictures, epochs = sum(trained["pictures"].values()), trained["params"]["epochs"]
        yield f"| the head on them, trained afterwards | {pictures} | {epochs} epochs | {manifest.get('licence', '')} |"


def licence_rows(path: Path) -> Iterator[str]:
    """Rows of THIRD_PARTY.md on weights and pictures of others that are inside the models of the profile `sample`."""
    if not path.is_file():
        yield f"No licences of others: {path.name} is missing; restore it from git."
        return
    yield "| of others | comes from | licence |"
    yield "|---|---|---|"
    text = path.read_text(encoding="utf-8")
    for title in TABLES:
        table = text.partition(title)[2].partition("\n## ")[0]
        rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("|---")][1:]
        for what, origin, licence, where, *_ in (_cells(row) for row in rows):
            if licence != OURS and not any(word in where for word in OTHER_PROFILES):
                yield f"| {what} | {origin} | {licence} |"


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
