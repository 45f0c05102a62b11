"""The generated part of a page is replaced, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.common.markdown import replace_between

BEGIN, END = "<!-- begin -->", "<!-- end -->"


@pytest.mark.parametrize("text", [None, "# Words\n", f"# Words\n{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_page_without_both_marks_is_named_and_left_as_it_is(tmp_path: Path, text: str | None) -> None:
    page = tmp_path / "page.md"
    if text is not None:
        page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md: expected a line <!-- begin -->"):
        replace_between(page, BEGIN, END, "new")
    assert (page.read_text(encoding="utf-8") if page.exists() else None) == text


def test_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Words\n{BEGIN}\nold\n{END}\nmore\n", encoding="utf-8")
    for text in ("new", "newer"):
        replace_between(page, BEGIN, END, text)
    assert page.read_text(encoding="utf-8") == f"# Words\n{BEGIN}\nnewer\n{END}\nmore\n"
