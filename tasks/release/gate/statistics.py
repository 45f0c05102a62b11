"""Two classifiers on the same views: McNemar's test, and intervals of differences by a paired bootstrap over places.

Views of one place are alike, so places are drawn, not views. Only four counts of a place and classifier are needed, by
which all resamples are one matrix product. Array shapes: n views, k places, r resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.reward.places import Estimate, Floats, Ints, estimate, measures

EXACT_BELOW = 25  # discordant pairs; from so many on the chi-square approximation holds (Fleiss 1981)
MEASURES = ("mcc", "accuracy", "reward", "recall")


@dataclass(frozen=True)
class PairedTest:
    """McNemar's test (1947, Psychometrika 12) of two classifiers on the same cases.

    Attributes:
        both, neither: cases that both answer right, and wrong.
        gained: cases that the challenger alone answers right.
        lost: cases that the champion alone answers right.
        p: two-sided probability of so uneven a split by chance.
        exact: by the binomial distribution; else by chi-square with continuity correction.
    """

    both: int
    gained: int
    lost: int
    neither: int
    p: float
    exact: bool


@dataclass(frozen=True)
class Resampled:
    """Figures of a classifier: of the views as they are, and of each resample, by name, (r,)."""

    value: Mapping[str, float]
    draws: Mapping[str, Floats]

    def estimate(self, name: str, confidence: float) -> Estimate:
        """The figure with its interval."""
        return estimate(self.value[name], self.draws[name], confidence)


def mcnemar(challenger_right: ArrayLike, champion_right: ArrayLike) -> PairedTest:
    """Test whether one of two classifiers is right more often.

    Args:
        challenger_right: of each view, (n,).
        champion_right: of the same views, (n,).
    """
    new, old = np.asarray(challenger_right, dtype=bool), np.asarray(champion_right, dtype=bool)
    gained, lost = int(np.sum(new & ~old)), int(np.sum(~new & old))
    return PairedTest(int(np.sum(new & old)), gained, lost, int(np.sum(~new & ~old)), *_uneven(gained, lost))


def mcnemar_by_place(challenger_right: ArrayLike, champion_right: ArrayLike, place: ArrayLike) -> PairedTest:
    """The same with a place as the case: whichever is right on more of its views wins it, and equal ones are ties.

    It is the sign test over places, which holds although views of one place are alike.
    """
    new, old = np.asarray(challenger_right, dtype=np.int64), np.asarray(champion_right, dtype=np.int64)
    _, index = np.unique(np.asarray(place), return_inverse=True)
    balance = np.bincount(index, weights=new - old)
    gained, lost = int(np.sum(balance > 0)), int(np.sum(balance < 0))
    return PairedTest(int(np.sum(balance == 0)), gained, lost, 0, *_uneven(gained, lost))


def _uneven(gained: int, lost: int) -> tuple[float, bool]:
    # scipy.stats would take a second to load for these two
    from scipy.special import bdtr, chdtrc

    pairs = gained + lost
    if pairs == 0:
        return 1.0, True
    if pairs < EXACT_BELOW:
        return min(1.0, 2 * float(bdtr(min(gained, lost), pairs, 0.5))), True
    return float(chdtrc(1, max(0, abs(gained - lost) - 1) ** 2 / pairs)), False


def resample(counts: Floats, drawn: Ints, prior: float | None) -> Resampled:
    """Compute the figures of a classifier as it is and for every resample.

    Args:
        counts: of each place, (k, 4).
        drawn: from `tasks.reward.places.draw_places`, (r, k).
        prior: see `measures`.
    """
    whole = {name: float(value) for name, value in measures(counts.sum(axis=0), prior).items()}
    return Resampled(whole, measures(drawn @ counts, prior))


def difference(challenger: Resampled, champion: Resampled, name: str, confidence: float) -> Estimate:
    """Challenger less champion, with the interval over pairs of one resample each (Efron and Tibshirani 1993)."""
    return estimate(
        challenger.value[name] - champion.value[name], challenger.draws[name] - champion.draws[name], confidence
    )


def detectable(error: float, confidence: float, power: float) -> float:
    """Least difference that a two-sided test would find with this power, by a normal approximation.

    Args:
        error: standard error of the difference.
        confidence: of the test, such as 0.95.
        power: such as 0.8.
    """
    from scipy.special import ndtri

    return float((ndtri((1 + confidence) / 2) + ndtri(power)) * error)
