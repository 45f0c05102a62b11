"""From intervals to a verdict, and from a verdict to whether a release may be promoted. Pure functions.

The burden of proof lies on the challenger. An endpoint is the difference of one measure, challenger less champion, with
its interval and its non-inferiority margin (Piaggio et al. 2012, JAMA 308).

| verdict | when |
|---|---|
| better | some endpoint's interval lies above 0, none reaches below its margin, and no test shows a loss |
| worse | some endpoint's interval lies below 0, or McNemar over places shows a loss, and nothing shows a gain |
| no_worse | no interval reaches below its margin, and no test shows a loss |
| inconclusive | otherwise |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "no_worse", "worse", "inconclusive", "first"]
GOOD: tuple[Verdict, ...] = ("better", "no_worse", "first")


@dataclass(frozen=True)
class Endpoint:
    """A difference that the verdict depends on.

    Attributes:
        low, high: of its interval; NaN where it is undefined, which never passes.
        margin: by how much less the challenger may be, above 0.
    """

    low: float
    high: float
    margin: float

    @property
    def gains(self) -> bool:
        """The challenger is better."""
        return self.low > 0

    @property
    def loses(self) -> bool:
        """The challenger is worse."""
        return self.high < 0

    @property
    def holds(self) -> bool:
        """The challenger is not worse by more than the margin; NaN does not hold."""
        return self.low >= -self.margin


def judge(endpoints: Sequence[Endpoint], *, gained: int, lost: int, p: float, confidence: float) -> Verdict:
    """Give the verdict of a comparison.

    Args:
        endpoints: at least one.
        gained: places that the challenger wins.
        lost: places that it loses.
        p: of McNemar's test over places.
        confidence: of the test.
    """
    significant = p < 1 - confidence
    gain = any(one.gains for one in endpoints)
    loss = any(one.loses for one in endpoints) or (significant and lost > gained)
    if loss:
        return "inconclusive" if gain else "worse"
    if all(one.holds for one in endpoints):
        return "better" if gain else "no_worse"
    return "inconclusive"


def may_pass(verdict: Verdict, failures: Sequence[str], *, override: str | None, scheduled: bool) -> bool:
    """Whether a release may be promoted.

    Args:
        verdict: of the comparison.
        failures: names of checks that failed; nobody may override one.
        override: a person's reason to promote although the verdict is inconclusive.
        scheduled: no person asks for it, so that an override does not count.
    """
    if failures:
        return False
    if verdict == "inconclusive":
        return not scheduled and bool(override and override.strip())
    return verdict in GOOD
