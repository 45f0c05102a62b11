"""Generated parts of Markdown pages: what stands between two marks is replaced, the rest of the page stays."""

from __future__ import annotations

from pathlib import Path

from tasks.common.files import write_bytes


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two lines of a page, in one step.

    Args:
        page: the Markdown file.
        begin: the line before the generated part.
        end: the line after it.
        text: lines of Markdown.

    Raises:
        ValueError: the page is missing or lacks one of the marks.
    """
    content = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, first, rest = content.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"{page}: expected a line {begin} and a line {end} below it")
    write_bytes(page, f"{before}{begin}\n{text}\n{end}{after}".encode())
