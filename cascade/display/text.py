"""Text of others on a line of ours: paths and words of any length and alphabet."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

GAP = "..."


def printable(text: str) -> str:
    """Replace what would move the cursor or cannot be encoded: control characters, line ends, lone surrogates."""
    return "".join(character if character.isprintable() else "?" for character in text)


def shorten_middle(text: str, width: int) -> str:
    """Cut the middle out of a text that is wider than `width` columns; more is kept of its end, a file's name."""
    if cell_len(text) <= width:
        return text
    tail = max(width - len(GAP), 0) * 2 // 3
    head = max(width - len(GAP) - tail, 0)
    return set_cell_size(text, head) + GAP + set_cell_size(text[::-1], tail)[::-1]
