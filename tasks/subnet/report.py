"""Figures of a run: of each miner, by level and source, and of every pair of miners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.data.views import LEVELS
from tasks.reward.change import ExpectedReward, expected_by_place
from tasks.reward.places import Estimate, Floats, Ints, draw_places, estimate, measures, place_counts
from tasks.subnet.record import Answers, Asked
from tasks.subnet.repeats import Repeats, chance_above, repeat_run
from tasks.subnet.score import ALPHA

# validators draw labels one to one
PRIOR = 0.5
DIGITS = 6
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Subnet:
    """The subnet's pace and how figures are drawn.

    Attributes:
        miners: in the subnet.
        sample: of them are asked a step.
        step_seconds: shortest and longest time from step to step.
        alpha: of the moving average.
        repeats: of the run.
        confidence: of intervals.
        seed: of everything that is drawn.
    """

    miners: int = 250
    sample: int = 10
    step_seconds: tuple[float, float] = (60.0, 80.0)
    alpha: float = ALPHA
    repeats: int = 400
    confidence: float = 0.95
    seed: int = 0

    def hours(self, challenges: int) -> tuple[float, float]:
        """Shortest and longest time, in hours, until a miner has been asked so often, on average."""
        steps = challenges * self.miners / min(self.sample, self.miners)
        low, high = (steps * seconds / 3600 for seconds in self.step_seconds)
        return low, high


@dataclass(frozen=True)
class Report:
    """What is written of a run.

    Attributes:
        figures: the same for the same seed and answers, as plain data.
        timings: latencies and counts of requests, which differ from run to run.
        repeats: of each miner, for the plot.
    """

    figures: dict[str, Any]
    timings: dict[str, Any]
    repeats: list[Repeats]

    @property
    def document(self) -> dict[str, Any]:
        """As it goes into the file."""
        return {**self.figures, "timings": self.timings}


def make_report(asked: Asked, answers: Sequence[Answers], subnet: Subnet) -> Report:
    """Compute all figures of a run."""
    drawn = draw_places(len(np.unique(asked.place)), resamples=subnet.repeats, seed=subnet.seed)
    repeats = repeat_run(asked, answers, drawn, seed=subnet.seed, alpha=subnet.alpha)
    expected = [_expected(asked, one, drawn) for one in answers]
    miners = {
        one.name: _miner(asked, one, drawn, reward, repeated, subnet)
        for one, reward, repeated in zip(answers, expected, repeats, strict=True)
    }
    pairs = [
        _pair([answers[i].name, answers[j].name], (expected[i], expected[j]), (repeats[i], repeats[j]), subnet)
        for i, j in combinations(range(len(answers)), 2)
    ]
    figures = {
        "challenges": len(asked.label),
        "views": asked.views,
        "places": len(np.unique(asked.place)),
        "seed": subnet.seed,
        "confidence": subnet.confidence,
        "miners": miners,
        "pairs": pairs,
    }
    return Report(figures, {one.name: _timings(one) for one in answers}, repeats)


def _expected(asked: Asked, one: Answers, drawn: Ints) -> ExpectedReward:
    """Expected reward by the answers that came; undefined where one spoils the windows that it is in."""
    share = float(asked.weight @ one.paid) if one.is_usable else float("nan")
    return expected_by_place(_counts(asked, one), drawn, PRIOR).scaled(share)


def _counts(asked: Asked, one: Answers, rows: NDArray[np.bool_] | None = None) -> Floats:
    """Counts by place, (k, 4), by weight; challenges without an answer are in none of the four."""
    counted = one.answered if rows is None else one.answered & rows
    weight = np.where(counted, asked.weight, 0.0)
    return place_counts(asked.label, np.round(one.value) == 1, asked.place, weight)


def _miner(
    asked: Asked, one: Answers, drawn: Ints, expected: ExpectedReward, repeats: Repeats, subnet: Subnet
) -> dict[str, Any]:
    counts, confidence = _counts(asked, one), subnet.confidence
    whole, draws = measures(counts.sum(axis=0), PRIOR), measures(drawn @ counts, PRIOR)
    stable = repeats.stable_after()
    return {
        "reward": _rounded(estimate(float(one.reward.mean()), repeats.reward, confidence)),
        "score": _rounded(estimate(float(one.score[-1]), repeats.end, confidence)),
        "expected_reward": _rounded(expected.estimate(confidence)),
        **{
            name: _rounded(estimate(float(whole[name]), draws[name], confidence))
            for name in ("mcc", "accuracy", "recall")
        },
        "answered": round(float(one.answered.mean()), DIGITS),
        "timeouts": one.timeouts,
        "errors": one.errors,
        "stable": _stable(stable, subnet),
        "level": {str(level): _part(asked, one, asked.level == level) for level in LEVELS},
        "source": {str(source): _part(asked, one, asked.source == source) for source in np.unique(asked.source)},
    }


def _stable(challenges: int | None, subnet: Subnet) -> dict[str, Any] | None:
    if challenges is None:
        return None
    low, high = subnet.hours(challenges)
    return {"challenges": challenges, "hours": [round(low, 1), round(high, 1)]}


def _part(asked: Asked, one: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Figures of a part of the challenges; None where it has none that was answered."""
    found = measures(_counts(asked, one, rows).sum(axis=0), PRIOR)
    return {
        "challenges": int(rows.sum()),
        "answered": int((rows & one.answered).sum()),
        **{name: _plain(float(found[name])) for name in ("mcc", "accuracy", "reward")},
    }


def _pair(
    names: list[str], expected: Sequence[ExpectedReward], repeats: Sequence[Repeats], subnet: Subnet
) -> dict[str, Any]:
    """How the first of two miners stands to the second."""
    return {
        "miners": names,
        "ends_above": round(chance_above(repeats[0], repeats[1]), DIGITS),
        "expected_reward": _rounded(expected[0].above(expected[1], subnet.confidence)),
    }


def _timings(one: Answers) -> dict[str, Any]:
    found = one.latencies
    percentiles = np.percentile(found, PERCENTILES) if len(found) else np.full(len(PERCENTILES), np.nan)
    return {
        "requests": len(found),
        "kept": len(one.seconds) - len(found),
        **{f"p{share}_ms": _plain(round(float(ms), 1)) for share, ms in zip(PERCENTILES, percentiles, strict=True)},
        "max_ms": _plain(round(float(found.max()), 1)) if len(found) else None,
    }


def _rounded(one: Estimate) -> dict[str, float | None]:
    return {name: _plain(value) for name, value in (("value", one.value), ("low", one.low), ("high", one.high))}


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, DIGITS) if np.isfinite(value) else None
