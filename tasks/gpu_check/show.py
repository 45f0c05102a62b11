"""A run as a table for people, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.gpu_check.card import Card
from tasks.gpu_check.judge import Claim
from tasks.gpu_check.run import Outcome
from tasks.gpu_check.work import Figures

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {"ok": "green", "broken": "red", "failed": "red", "not installed": "yellow", "not run": "red"}


def state_of(outcome: Outcome, claims: Sequence[Claim]) -> str:
    """In one word or two: measured checks are ok, or broken where a claim about them does not hold."""
    if outcome.state != "measured":
        return outcome.state
    about = [one for one in claims if outcome.check.name in one.checks]
    return "ok" if all(one.holds for one in about) else "broken"


def passed(outcomes: Sequence[Outcome], claims: Sequence[Claim]) -> bool:
    """Whether the exit code is 0: something was measured, nothing failed, every claim holds."""
    states = [state_of(one, claims) for one in outcomes]
    return "ok" in states and all(state in ("ok", "not installed") for state in states)


def document(
    outcomes: Sequence[Outcome], claims: Sequence[Claim], *, profile: str, device: str, tiny: bool, card: Card | None
) -> dict[str, Any]:
    """All of a run for programs."""
    rows = [
        {
            "check": one.check.name,
            "model": one.check.model,
            "role": one.check.role,
            "state": state_of(one, claims),
            "reason": one.reason,
            "seconds": round(one.seconds, 2),
            "figures": one.figures.model_dump(mode="json") if one.figures else None,
        }
        for one in outcomes
    ]
    judged = [
        {
            "checks": list(one.checks),
            "key": one.key,
            "measured": round(one.measured, 4),
            "limit": one.limit,
            "unit": one.unit,
            "holds": one.holds,
            "words": one.words,
        }
        for one in claims
    ]
    return {
        "profile": profile,
        "device": device,
        "tiny": tiny,
        "card": card.model_dump() if card else None,
        "passed": passed(outcomes, claims),
        "checks": rows,
        "claims": judged,
    }


def table(outcomes: Sequence[Outcome], claims: Sequence[Claim]) -> Table:
    """A row a check; below its figures the reason of a failure, or the claims that do not hold."""
    from rich.table import Table
    from rich.text import Text

    made = Table("check", "state", "model", box=None, pad_edge=False)
    for name in ("weights, M", "one, ms", "best, a second", "step, ms", "peak, GiB"):
        made.add_column(name, justify="right")
    made.columns[0].no_wrap = made.columns[1].no_wrap = True
    # names of repositories have no blank to break at
    made.columns[2].overflow = "fold"
    for one in outcomes:
        state = state_of(one, claims)
        model = Text(one.check.model)
        for words in _below(one, claims):
            model.append(f"\n{words}", style="italic")
        figures = _columns(one.figures) if one.figures else [""] * 5
        made.add_row(one.check.name, Text(state, style=COLOURS[state]), model, *figures)
    return made


def _below(outcome: Outcome, claims: Sequence[Claim]) -> list[str]:
    broken = [str(one) for one in claims if outcome.check.name in one.checks and not one.holds]
    note = outcome.figures.note if outcome.figures else ""
    return [words for words in (outcome.reason, *broken, note) if words]


def _columns(figures: Figures) -> list[str]:
    best = figures.best
    rates = {size: 1000 * size / ms for size, ms in best.items()}
    top = max(rates, key=rates.__getitem__) if rates else None
    step = f"{figures.step_ms:.0f} ({figures.step_pictures})" if figures.step_ms is not None else ""
    return [
        f"{figures.million_parameters:,.1f}",
        f"{best[1]:.2f}" if 1 in best else "",
        f"{rates[top]:,.1f} ({top})" if top is not None else "",
        step,
        f"{figures.peak_gib:.2f}",
    ]
