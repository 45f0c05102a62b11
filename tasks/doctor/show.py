"""Findings as a table for people, the worst first, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.doctor.finding import ORDER, Finding

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {"error": "red", "warning": "yellow", "not asked": "bright_black", "ok": "green"}


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Order by state; findings of one state stay as they are."""
    return sorted(findings, key=lambda one: ORDER.index(one.state))


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each state."""
    return {state: sum(one.state == state for one in findings) for state in ORDER}


def document(findings: Sequence[Finding], seconds: float) -> dict[str, Any]:
    """All findings for programs."""
    rows = [
        {key: getattr(one, key) for key in ("check", "group", "state", "sentence", "remedy", "seconds")}
        for one in findings
    ]
    return {"counts": counts(findings), "seconds": round(seconds, 2), "findings": rows}


def table(findings: Sequence[Finding]) -> Table:
    """A row a finding; the remedy stands below the sentence."""
    from rich.table import Table
    from rich.text import Text

    made = Table("state", "check", "finding", box=None, pad_edge=False)
    made.columns[0].no_wrap = made.columns[1].no_wrap = True
    for one in worst_first(findings):
        words = Text(one.sentence)
        if one.remedy and one.state != "ok":
            words.append(f"\n→ {one.remedy}", style="italic")
        made.add_row(Text(one.state, style=COLOURS[one.state]), one.check, words)
    return made
