"""Mean reward of a miner whose answers are right at known rates, exactly, at the subnet's own sample sizes.

A validator pays `(0.5 * MCC of the last 100 + 0.5 * accuracy of the last 10)^3` (natix/validator/reward.py). With so
few answers both scatter, and the cube and the cut at 0 turn scatter into a mean that differs from the reward of the
rates themselves. The sum below runs over every table of 100 answers with its probability, so that no random number is
involved and two classifiers can be compared to the last digit.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.reward.places import Floats, Rates

MCC_WINDOW, ACCURACY_WINDOW, POWER = 100, 10, 3
# numbers of roadwork pictures in a window that are rarer than this are left out
RARE = 1e-10
# the exponential of it is 0
LEAST_LOG = -1e4


def expected_reward(rates: Rates) -> Floats:
    """Mean reward a challenge, once the windows are full and if every challenge is answered in time.

    Args:
        rates: arrays of one shape (...).

    Returns:
        (...), NaN where there are no pictures. A label that no picture has is taken as never right, and does not occur.
    """
    recall, rejected, share = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in rates))
    # many resamples have the same rates
    table = np.stack([np.nan_to_num(recall).ravel(), np.nan_to_num(rejected).ravel(), share.ravel()], axis=1)
    distinct, index = np.unique(table, axis=0, return_inverse=True)
    return np.asarray(_mean_of(distinct)[index].reshape(share.shape))


def _mean_of(distinct: Floats) -> Floats:
    """Of rows of recall, rejected and share, (m, 3): (m,)."""
    recall, rejected, share = distinct.T
    known = np.isfinite(share)
    works = _binomial(MCC_WINDOW, *_logs(np.where(known, share, 0.5)))
    right, refused, total = _logs(recall), _logs(rejected), np.zeros(len(distinct))
    for count in np.flatnonzero(works.max(axis=0, initial=0.0) > RARE).tolist():
        hits, rejections = _binomial(count, *right), _binomial(MCC_WINDOW - count, *refused)
        total += works[:, count] * ((hits @ _rewards(count)) * rejections).sum(axis=1)
    return np.where(known, total, np.nan)


def _logs(chance: Floats) -> tuple[Floats, Floats]:
    """Logarithms of chances and of their complements, as columns (m, 1); that of 0 is finite: 0 times it is 0."""
    with np.errstate(divide="ignore"):
        yes, no = np.log(chance), np.log1p(-chance)
    return np.maximum(yes, LEAST_LOG)[:, None], np.maximum(no, LEAST_LOG)[:, None]


def _binomial(count: int, yes: Floats, no: Floats) -> Floats:
    """Probabilities of 0 to `count` successes, (m, count + 1), for logarithms of chances, (m, 1)."""
    k = np.arange(count + 1)
    ways = np.array([math.log(math.comb(count, successes)) for successes in range(count + 1)])
    return np.asarray(np.exp(ways + k * yes + (count - k) * no))


@cache
def _rewards(works: int) -> Floats:
    """Mean reward of every table with `works` roadwork pictures, by hits and right rejections.

    Returns:
        (works + 1, 101 - works).
    """
    hits = np.arange(works + 1, dtype=np.float64)[:, None]
    rejections = np.arange(MCC_WINDOW - works + 1, dtype=np.float64)[None, :]
    half_mcc = 0.5 * positive_mcc(hits, works - hits, MCC_WINDOW - works - rejections, rejections)
    first, second, third = _moments_of_last(hits + rejections)
    unit = 0.5 / ACCURACY_WINDOW
    return np.asarray(half_mcc**3 + 3 * half_mcc**2 * unit * first + 3 * half_mcc * unit**2 * second + unit**3 * third)


def positive_mcc(hits: ArrayLike, misses: ArrayLike, false_alarms: ArrayLike, rejections: ArrayLike) -> Floats:
    """Matthews' correlation of counts, 0 where it is negative, and where one class alone is there or said."""
    tp, fn, fp, tn = (np.asarray(one, dtype=np.float64) for one in (hits, misses, false_alarms, rejections))
    scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, np.maximum((tp * tn - fp * fn) / np.sqrt(scale), 0.0), 0.0)


def _moments_of_last(right: NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    """First three moments of the right answers among the last 10, of `right` among 100 in random order.

    That number is hypergeometric, whose factorial moments are products of falling factorials.
    """
    n, m = float(MCC_WINDOW), float(ACCURACY_WINDOW)
    one = m * right / n
    two = one * (m - 1) * (right - 1) / (n - 1)
    three = two * (m - 2) * (right - 2) / (n - 2)
    return one, two + one, three + 3 * two + one
