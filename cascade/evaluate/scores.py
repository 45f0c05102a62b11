"""Metrics of probabilities against labels: numpy only, all arrays of shape (n,).

A label is 1 for roadwork and 0 for clear. A probability above `CUT` counts as roadwork, as the validators round. Where
a metric takes weights (n,), None weighs all rows alike; `cascade.evaluate.prior` has those for a prior.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import prior_weights, shift_odds
from cascade.probability import CUT

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], float]


def mcc(label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Matthews' correlation of 0/1 labels and predictions; 0 where only one class is there or predicted."""
    truth, guess = np.asarray(label, dtype=bool), np.asarray(prediction, dtype=bool)
    w = _weights(weight, len(truth))
    tp, tn = float(np.sum(w * (truth & guess))), float(np.sum(w * (~truth & ~guess)))
    fp, fn = float(np.sum(w * (~truth & guess))), float(np.sum(w * (truth & ~guess)))
    scale = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / float(np.sqrt(scale)) if scale else 0.0


def accuracy(label: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Share of predictions that equal their label."""
    right = np.asarray(label, dtype=bool) == np.asarray(prediction, dtype=bool)
    return float(np.average(right, weights=_weights(weight, len(right))))


def reward(mcc: float, acc: float) -> float:
    """The subnet's pay, `(0.5·max(MCC, 0) + 0.5·accuracy)³` (natix/validator/reward.py)."""
    return float((0.5 * max(mcc, 0.0) + 0.5 * acc) ** 3)


def constant_answer(share: float) -> dict[str, float]:
    """Accuracy, MCC and reward of always giving the more frequent label, where `share` of the images is roadwork."""
    right = max(share, 1 - share)
    return {"accuracy": right, "mcc": 0.0, "reward": reward(0.0, right)}


def auc(label: ArrayLike, p: ArrayLike) -> float:
    """Chance that a roadwork image scores above a clear one, ties counting half (Mann-Whitney).

    It compares pairs of one label each, so that no prior changes it.

    Raises:
        ValueError: only one class is there.
    """
    truth, score = np.asarray(label, dtype=bool), np.asarray(p, dtype=np.float64)
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        raise ValueError("AUC needs images of both classes")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def ece(label: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None, bins: int = 15) -> float:
    """Expected calibration error: gap of probability and frequency over equally wide bins (Naeini et al. 2015)."""
    truth, score = np.asarray(label, dtype=np.float64), np.asarray(p, dtype=np.float64)
    w, index = _weights(weight, len(score)), np.minimum((score * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=w * (score - truth), minlength=bins)
    return float(np.abs(gap).sum() / w.sum())


def brier(label: ArrayLike, p: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean squared distance of probability and label."""
    distance = (np.asarray(p, dtype=np.float64) - np.asarray(label, dtype=np.float64)) ** 2
    return float(np.average(distance, weights=_weights(weight, len(distance))))


def classification_scores(label: ArrayLike, p: ArrayLike, *, prior: float | None) -> dict[str, float]:
    """Give mcc, accuracy, reward, ece, brier, precision, recall, n, and auc where both classes are there.

    All but n, the number of images, are for the prior. `auc` is left out rather than NaN, which JSON does not know.
    Precision and recall are 0 where undefined.

    Args:
        label: 0 or 1.
        p: probabilities.
        prior: share of roadwork; None for that of these images. Where only one class is there it is not applied.

    Raises:
        ValueError: no images, unequal lengths, labels beyond 0 and 1, or probabilities outside [0, 1].
    """
    truth, score = _checked(label, p)
    guess, w = score > CUT, prior_weights(truth, prior)
    hits, said, there = (float(np.sum(w * rows)) for rows in (guess & (truth == 1), guess, truth == 1))
    correlation, right = mcc(truth, guess, w), accuracy(truth, guess, w)
    scores = {
        "mcc": correlation,
        "accuracy": right,
        "reward": reward(correlation, right),
        "ece": ece(truth, score, w),
        "brier": brier(truth, score, w),
        "precision": hits / said if said else 0.0,
        "recall": hits / there if there else 0.0,
        "n": float(len(truth)),
    }
    return scores if len(np.unique(truth)) == 1 else {**scores, "auc": auc(truth, score)}


def bootstrap_interval(
    statistic: Statistic,
    label: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Percentile interval of `statistic(label, p)`, resampling whole groups.

    Images of one place are alike, so resampling single images would claim more certainty than there is. A statistic for
    a prior weighs each resample by the labels in it, as it would weigh a set of that size. A resample in
    which the statistic is undefined (it raises ValueError) is passed over; with none left both ends are NaN.

    Args:
        statistic: takes labels and probabilities, both of shape (n,).
        label: 0 or 1.
        p: probabilities.
        groups: the place of every image, any type that compares.
        resamples: how often to draw.
        confidence: for example 0.95.
        seed: the same seed gives the same interval.
    """
    truth, score = _checked(label, p)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(group == index) for index in range(int(group.max()) + 1)]
    random = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(resamples):
        chosen = np.concatenate([members[index] for index in random.integers(len(members), size=len(members))])
        try:
            values.append(statistic(truth[chosen], score[chosen]))
        except ValueError:
            continue
    if not values:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def clopper_pearson_upper(errors: int, n: int, confidence: float, odds: float = 1.0) -> float:
    """One-sided upper bound of an error rate after `errors` in `n` trials (Clopper and Pearson 1934); 1 if n is 0.

    Args:
        errors: how many trials failed.
        n: how many there were.
        confidence: of the bound.
        odds: factor on the odds of an error, from the data's prior to another one: see `cascade.evaluate.prior`. The
            bound of the share in the data is exact, and so is its shift where the data's own share is known.
    """
    if not 0 <= errors <= n:
        raise ValueError(f"{errors} errors in {n} trials")
    if errors == n:
        return 1.0
    from scipy.stats import beta

    return shift_odds(float(beta.ppf(confidence, errors + 1, n - errors)), odds)


def _weights(weight: ArrayLike | None, count: int) -> Floats:
    return np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64)


def _checked(label: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    truth, score = np.asarray(label, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape or not len(truth):
        raise ValueError(f"expected labels and probabilities of one length, got {truth.shape} and {score.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return truth, score
