"""`streetvision releases`: which releases were live, who promoted them, when and why."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from cascade.api.process import status
from cascade.release.store import RELEASES
from tasks.release import ledger
from tasks.release.ledger import Promotion
from tasks.release.promotion import journal
from tasks.release.promotion.doors import live_id
from tasks.release.promotion.fronts import ready_service

app = typer.Typer()
COLUMNS = ("when", "release", "action", "who", "why", "gate", "state")


@app.command("releases")
def releases(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    last: Annotated[int, typer.Option(help="So many lines of the ledger.")] = 20,
) -> None:
    """List promotions and rollbacks, the newest last, and what each release is now."""
    lines = ledger.read()
    rows = [row(line, newest=line is lines[-1]) for line in lines[-last:]]
    intent = journal.unfinished()
    if as_json:
        document = {"live": live_id(), "target": ledger.rollback_target(lines), "ledger": rows}
        json.dump(document, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(rows)
        print(f"live: {live_id() or 'none'}; a rollback goes to: {ledger.rollback_target(lines) or 'none'}")
    if intent:
        print(f"{intent.action} of {intent.new} runs, or was cut off; the next run repairs it", file=sys.stderr)


def row(line: Promotion, *, newest: bool) -> dict[str, Any]:
    """One line of the ledger with the state of its release: live, warm, on the disk, or gone."""
    return {**line.model_dump(), "state": _state(line.release, newest=newest)}


def _state(release: str, *, newest: bool) -> str:
    if live_id() == release:
        live = status()
        runs = live is not None and live.release == release
        # the same release may have been live before
        return ("live" if runs else "live, no service runs") if newest else ""
    if not (RELEASES / release / "manifest.json").is_file():
        return "gone"
    return "warm" if ready_service(release) else "on disk"


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for column in table.columns[:4]:
        column.no_wrap = True
    for one in rows:
        verdict = (one["gate"] or {}).get("verdict", "")
        table.add_row(*(str(verdict if name == "gate" else one[name] or "") for name in COLUMNS))
    Console().print(table)


if __name__ == "__main__":
    app()
