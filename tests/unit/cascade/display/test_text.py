"""Texts of others: no character of theirs moves the cursor, and the end of a long path stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cascade.display.text import printable, shorten_middle


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("street.jpg", "street.jpg"),
        # a colour of the terminal, a line end, a byte that is no UTF-8
        ("a\x1b[31mb", "a?[31mb"),
        ("a\nb.jpg", "a?b.jpg"),
        ("caf\udce9.jpg", "caf?.jpg"),
        ("道路工事.jpg", "道路工事.jpg"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("street.jpg", 10, "street.jpg"),
        # two thirds of what is left are the end
        ("0123456789abcdefghij", 12, "012...efghij"),
        # signs of two columns
        ("道路工事道路工事.jpg", 13, "道路...事.jpg"),
    ],
)
def test_shorten_middle(text: str, width: int, shown: str) -> None:
    assert shorten_middle(text, width) == shown


@given(st.text(max_size=60), st.integers(4, 40))
def test_a_shortened_text_is_never_wider(text: str, width: int) -> None:
    assert cell_len(shorten_middle(printable(text), width)) <= width
