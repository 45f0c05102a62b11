"""The table of all series in docs/monitoring.md: `python -m tasks.monitoring.reference` writes it from the code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cascade.metrics.series import SERVICE, Series
from tasks.common.markdown import replace_between
from tasks.monitoring.series import PIPELINE

PAGE = Path("docs/monitoring.md")
BEGIN, END = "<!-- series: made by tasks/monitoring/reference.py -->", "<!-- end of series -->"


def table(series: Iterable[Series]) -> str:
    """A Markdown table, a row a series."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.text} |"
        for one in series
    ]
    return "\n".join(["| series | type | labels | meaning |", "|---|---|---|---|", *rows])


def text() -> str:
    """Both tables."""
    return f"\nOf the service:\n\n{table(SERVICE)}\n\nOf batch runs:\n\n{table(PIPELINE)}\n"


def main() -> None:
    """Bring the page up to date."""
    replace_between(PAGE, BEGIN, END, text())


if __name__ == "__main__":
    main()
