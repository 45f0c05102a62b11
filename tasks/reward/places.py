"""Counts of answers by place, resamples of places, and figures with their percentile intervals; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its percentile interval and standard error; an interval that is undefined has NaN ends."""

    value: float
    low: float
    high: float
    error: float


class Rates(NamedTuple):
    """What decides how often a classifier is right, arrays of one shape; NaN where there is no picture of the label.

    Attributes:
        recall: share of the roadwork pictures that are called roadwork.
        rejected: share of the clear pictures that are called clear.
        share: of roadwork among the pictures, or the prior where it is applied.
    """

    recall: Floats
    rejected: Floats
    share: Floats


def place_counts(label: ArrayLike, guess: ArrayLike, place: ArrayLike, weight: ArrayLike | None = None) -> Floats:
    """Count hits, misses, false alarms and right rejections by place: (k, 4), places in sorted order.

    Args:
        label: 0 or 1, (n,).
        guess: whether roadwork was said, (n,).
        place: of each view, (n,).
        weight: of each view, (n,); None counts each as one.
    """
    truth, said = np.asarray(label) == 1, np.asarray(guess, dtype=bool)
    _, index = np.unique(np.asarray(place), return_inverse=True)
    cells = np.stack([truth & said, truth & ~said, ~truth & said, ~truth & ~said], axis=1)
    own = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=np.float64)
    counts = np.zeros((int(index.max()) + 1, 4))
    np.add.at(counts, index, cells * own[:, None])
    return counts


def draw_places(count: int, *, resamples: int, seed: int) -> Ints:
    """Draw places with replacement: how often each is in each resample, (r, k). One matrix serves all classifiers."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)


def rates(counts: ArrayLike, prior: float | None) -> Rates:
    """Rates of counts at a prior.

    Args:
        counts: hits, misses, false alarms, right rejections: (..., 4).
        prior: share of roadwork; None for that of the counts. Where one label is missing it is not applied.

    Returns:
        Arrays of shape (...).
    """
    table = np.asarray(counts, dtype=np.float64)
    works, clear = table[..., :2].sum(-1), table[..., 2:].sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = works / (works + clear)
        share = own if prior is None else np.where((works > 0) & (clear > 0), prior, own)
        return Rates(table[..., 0] / works, table[..., 3] / clear, share)


def measures(counts: ArrayLike, prior: float | None) -> dict[str, Floats]:
    """Give MCC, accuracy, their reward and recall of counts at a prior, as `cascade.evaluate.scores` does.

    Args:
        counts: hits, misses, false alarms, right rejections: (..., 4).
        prior: share of roadwork; None for that of the counts. Where one label is missing it is not applied.

    Returns:
        By name, each of shape (...); NaN where there are no views, and recall also where none is roadwork.
    """
    recall, rejected, share = rates(counts, prior)
    with np.errstate(divide="ignore", invalid="ignore"):
        tp, tn = share * np.nan_to_num(recall), (1 - share) * np.nan_to_num(rejected)
        fn, fp = share - tp, (1 - share) - tn
        scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        # differences of shares leave rests of 1e-17 where a class is never answered
        mcc = np.where(scale > 1e-12, (tp * tn - fp * fn) / np.sqrt(np.maximum(scale, 1e-300)), 0.0)
        accuracy = tp + tn
    mcc = np.where(np.isfinite(share), mcc, np.nan)
    reward = (0.5 * np.maximum(mcc, 0.0) + 0.5 * accuracy) ** 3
    return {"mcc": mcc, "accuracy": accuracy, "reward": reward, "recall": recall}


def estimate(value: float, draws: Floats, confidence: float) -> Estimate:
    """A figure with the percentile interval of its resamples, those left out in which it is undefined.

    Args:
        value: of the views as they are.
        draws: of each resample, (r,).
        confidence: such as 0.95.
    """
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high), float(known.std(ddof=1)) if len(known) > 1 else 0.0)
