"""What a change is worth: the expected reward of two classifiers on the same views, and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.reward.expected import expected_reward
from tasks.reward.places import Estimate, Floats, Ints, estimate, rates


@dataclass(frozen=True)
class ExpectedReward:
    """The expected reward of a classifier: of the views as they are, and of each resample of places, (r,)."""

    value: float
    draws: Floats

    def estimate(self, confidence: float) -> Estimate:
        """With its percentile interval."""
        return estimate(self.value, self.draws, confidence)

    def above(self, other: ExpectedReward, confidence: float) -> Estimate:
        """How much higher it is than another one, over pairs of one resample each (Efron and Tibshirani 1993)."""
        return estimate(self.value - other.value, self.draws - other.draws, confidence)

    def scaled(self, factor: float) -> ExpectedReward:
        """Of a miner that answers only a share of the challenges in time: the others earn nothing."""
        return ExpectedReward(self.value * factor, self.draws * factor)


def expected_by_place(counts: ArrayLike, drawn: Ints, prior: float | None) -> ExpectedReward:
    """Expected reward at the subnet's sample sizes, and for every resample.

    Args:
        counts: hits, misses, false alarms and right rejections of each place, (k, 4).
        drawn: from `tasks.reward.places.draw_places`, (r, k).
        prior: share of roadwork; None for that of the counts.
    """
    table = np.asarray(counts, dtype=np.float64)
    whole = expected_reward(rates(table.sum(axis=0), prior))
    return ExpectedReward(float(whole), expected_reward(rates(drawn @ table, prior)))


def change_words(
    value: float, interval: tuple[float, float], confidence: float, milliseconds: float | None = None
) -> str:
    """Say what a change is worth: `+0.021 reward (95 % interval -0.010 to +0.051), at +12 ms`.

    Args:
        value: the difference of the expected rewards.
        interval: its lower and upper end.
        confidence: of the interval.
        milliseconds: by how much longer an answer takes; None where it was not measured.
    """
    said = f"{value:+.3f} reward ({confidence * 100:g} % interval {interval[0]:+.3f} to {interval[1]:+.3f})"
    return said if milliseconds is None else f"{said}, at {milliseconds:+.0f} ms"
