"""Tables of the reference pages as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table; cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Give a text as a cell: the sign between cells, and what would be read as HTML, are escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
