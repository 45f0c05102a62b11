"""The age of a model against its deadline: section `clock` of params.yaml says what is how urgent.

The subnet's README lets a model count for 90 days, docs/Incentive.md plans 45 and 90, and the code of v0.2.4 checks
neither (docs/mining-the-subnet.md). So the days are parameters, and an expired model is a finding and stops nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.config.clock import ClockParams
from tasks.release.ledger import Promotion

DAY_SECONDS = 86400.0


@dataclass(frozen=True)
class ModelAge:
    """How old a model is, and what that means.

    Attributes:
        days: since it was first promoted, or since the time on its card.
        valid_days: of section `clock`.
        warning: number of warnings that have begun: 0, none, to len(warn_days); once expired, one more.
        passed: age in days at which the last of them began; None: none has.
        upcoming: age in days at which the next one begins, the deadline after the last; None: expired.
    """

    days: float
    valid_days: float
    warning: int
    passed: float | None
    upcoming: float | None

    @property
    def days_left(self) -> float:
        """Days until the deadline; negative once it is over."""
        return self.valid_days - self.days

    @property
    def expired(self) -> bool:
        """Whether the deadline is over."""
        return self.days_left <= 0

    @property
    def sentence(self) -> str:
        """The age in words, for logs, warnings and the doctor."""
        if self.expired:
            return f"the model is {self.days:.1f} days old and expired {-self.days_left:.1f} days ago"
        warning = f", past the warning at {self.passed:g} days" if self.passed is not None else ""
        return f"the model is {self.days:.1f} days old, {self.days_left:.1f} of {self.valid_days:g} are left{warning}"


def judge_age(days: float, clock: ClockParams) -> ModelAge:
    """Say which warning an age in days has come to; an age that equals a limit has come to it.

    Raises:
        ValueError: the age is no finite number. A negative one (a clock that went back) counts as it is.
    """
    if not abs(days) < float("inf"):
        raise ValueError(f"{days} is no age in days")
    limits = (*clock.warn_days, clock.valid_days)
    warning = bisect_right(limits, days)
    return ModelAge(
        days=days,
        valid_days=clock.valid_days,
        warning=warning,
        passed=limits[warning - 1] if warning else None,
        upcoming=limits[warning] if warning < len(limits) else None,
    )


def released_at(lines: Sequence[Promotion], release: str) -> datetime | None:
    """When a release was first promoted, by the ledger; a rollback to it makes it no younger. None: never.

    Raises:
        ValueError: the line's time cannot be read.
    """
    line = next((line for line in lines if line.release == release), None)
    if line is None:
        return None
    when = datetime.fromisoformat(line.when)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def champion_age(lines: Sequence[Promotion], clock: ClockParams, now: datetime) -> ModelAge | None:
    """The age of the release that the ledger's last line made champion; None where nothing was promoted.

    Args:
        lines: the ledger, oldest first.
        clock: section `clock`.
        now: with a time zone.
    """
    since = released_at(lines, lines[-1].release) if lines else None
    return judge_age((now - since).total_seconds() / DAY_SECONDS, clock) if since else None
