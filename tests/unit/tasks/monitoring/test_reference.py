"""The table of series in the docs is what the code says."""

from __future__ import annotations

from tasks.monitoring.reference import BEGIN, END, PAGE, text
from tests.support.paths import ROOT


def test_the_page_is_up_to_date() -> None:
    """`python -m tasks.monitoring.reference` brings it up to date."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    _, _, rest = page.partition(BEGIN)
    assert rest.partition(END)[0].strip() == text().strip()
