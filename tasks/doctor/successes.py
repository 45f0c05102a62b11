"""When retrain and mining last came to an end, by what they leave behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from tasks.data.batches import HARD_CASES
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check
from tasks.monitoring.drift import STATE
from tasks.release import ledger
from tasks.release.age import ModelAge, champion_age

MINING_DAYS = 2  # it runs each night, and one may be missed
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@check("model age", needs_params=True)
def model_age(context: Context) -> Iterator[Finding]:
    """Days since the champion was first promoted, against section `clock`."""
    lines = ledger.read()
    age = champion_age(lines, context.needed.clock, datetime.now(UTC))
    if age is None:
        yield not_asked("no release was promoted yet", "`make run` builds and promotes one")
        return
    yield judge_model(age, f"release {lines[-1].release}, promoted {lines[-1].when[:10]}")


def judge_model(age: ModelAge, what: str) -> Finding:
    """Say what an age means; used for the model card too."""
    words = f"{age.sentence} ({what})"
    remedy = "`make run` retrains and promotes; `streetvision doctor` shows the schedule's next run"
    if age.expired:
        return error(words, remedy)
    return warning(words, remedy) if age.warning else ok(words)


@check("mining", needs_params=True)
def mining(context: Context) -> Iterator[Finding]:
    """The newest day with a batch or a figure of drift; a night without new pictures leaves the figure alone."""
    if not context.needed.inbox.enabled:
        yield ok("inbox.enabled is false: there is nothing to mine")
        return
    days = mined_days()
    if not days:
        yield not_asked("mining has not run here yet", "`uv run python -m flows.mine_daily` runs it once")
        return
    age = (datetime.now(UTC).date() - max(days)).days
    words = f"mining last ended on {max(days)}"
    if age > MINING_DAYS:
        yield warning(
            f"{words}, {age} days ago", "the check `schedules`; `uv run python -m flows.mine_daily` runs it once"
        )
    else:
        yield ok(words)


def mined_days(batches: Path = HARD_CASES, drift: Path = STATE) -> list[date]:
    """Days of which there is a batch, its DVC file, or a figure of drift."""
    names = [path.name.removesuffix(".dvc") for path in batches.glob("*")] if batches.is_dir() else []
    for file in drift.glob("*.json") if drift.is_dir() else ():
        try:
            names += json.loads(file.read_text(encoding="utf-8")).get("figures", {})
        except (OSError, ValueError, AttributeError):
            continue
    return [date.fromisoformat(name) for name in names if DAY.fullmatch(name)]
