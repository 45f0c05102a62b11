"""From logits to probabilities: scaling, and the shift that puts the MCC-optimal cut at 0.5.

Both are fitted for a prior, the share of roadwork that the answers will be about, by weights of the rows
(`cascade.evaluate.prior`); None fits them for the data's own share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import prior_weights
from cascade.probability import sigmoid

Floats = NDArray[np.float64]
TOLERANCE = 1e-12  # of slope and offset, relative
MAX_GRADIENT = 1e-6  # a logit; at the optimum it is 1e-14


@dataclass(frozen=True)
class Calibration:
    """`logit' = a * logit + b`: its sigmoid is the probability, and 0.5 is the MCC-optimal cut."""

    a: float
    b: float

    def __call__(self, logit: ArrayLike) -> Floats:
        """Raw logits to probabilities, arrays of one shape."""
        return sigmoid(self.a * np.asarray(logit, dtype=np.float64) + self.b)


def fit_scaling(
    logit: Floats,
    label: ArrayLike,
    kind: Literal["platt", "temperature"],
    *,
    prior: float | None,
    weight: ArrayLike | None = None,
) -> Calibration:
    """Fit slope and offset (Platt 1999), or the slope alone, by maximum likelihood on smoothed targets.

    Platt's targets, (positives + 1) / (positives + 2) and 1 / (negatives + 2), keep the slope finite where the classes
    do not overlap. They count rows, whatever these weigh: a hundred rows of a label are as much evidence of it at any
    prior.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        kind: platt or temperature.
        prior: share of roadwork.
        weight: of each row within its label, (n,); None: all alike.

    Raises:
        ValueError: it does not converge.
    """
    truth = np.asarray(label) == 1
    positive, negative = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design = np.stack([logit, np.ones_like(logit)], axis=1)[:, : 2 if kind == "platt" else 1]
    # unit scale makes the steps well behaved whatever the head's logits are
    scale = float(np.abs(logit).mean()) or 1.0
    design = design / np.array([scale, 1.0])[: design.shape[1]]
    weights = _most_likely(design, target, prior_weights(truth, prior, weight))
    slope = max(float(weights[0]) / scale, 1e-3)
    return Calibration(slope, float(weights[1]) if kind == "platt" else 0.0)


def _most_likely(design: Floats, target: Floats, row_weight: Floats) -> Floats:
    """Weights (k,) of a logistic regression of targets (n,) on a design (n, k): where its gradient is zero.

    Each row's part of the likelihood counts `row_weight` times, (n,).

    Raises:
        ValueError: no such weights were found; logits that are not finite have none.
    """
    from scipy.optimize import root

    def gradient(weights: Floats) -> Floats:
        return design.T @ (row_weight * (sigmoid(design @ weights) - target))

    def curvature(weights: Floats) -> Floats:
        p = sigmoid(design @ weights)
        return (design * (row_weight * p * (1 - p))[:, None]).T @ design

    found = root(gradient, np.zeros(design.shape[1]), jac=curvature, tol=TOLERANCE)
    if not np.abs(found.fun).max() <= MAX_GRADIENT * len(target):
        raise ValueError(f"the scaling of {len(target)} logits does not converge: {found.message}")
    weights: Floats = found.x
    return weights


def best_cut(
    logit: Floats, label: ArrayLike, *, prior: float | None, weight: ArrayLike | None = None
) -> tuple[float, float]:
    """Find the logit above which calling roadwork gives the best MCC.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        prior: share of roadwork at which the MCC is taken.
        weight: see `fit_scaling`.

    Returns:
        The middle of the widest best gap between neighbouring logits, and the MCC there.
    """
    values, where = np.unique(logit, return_inverse=True)
    if len(values) < 2:
        return float(values[0]), 0.0
    cuts = (values[1:] + values[:-1]) / 2
    truth = np.asarray(label) == 1
    counted = prior_weights(truth, prior, weight)
    roadwork, street = counted * truth, counted * ~truth
    # summed from above: what lies over each cut
    works = np.bincount(where, weights=roadwork)[::-1].cumsum()[::-1][1:]
    clear = np.bincount(where, weights=street)[::-1].cumsum()[::-1][1:]
    scores = _mcc_of_counts(works, clear, float(roadwork.sum()), float(street.sum()))
    best = np.flatnonzero(np.isclose(scores, scores.max()))
    widest = best[np.argmax((values[1:] - values[:-1])[best])]
    return float(cuts[widest]), float(scores[widest])


def _mcc_of_counts(true: Floats, false: Floats, positive: float, negative: float) -> Floats:
    """MCC of cuts with `true` of all `positive` and `false` of all `negative` pictures above them; 0 if undefined.

    Pictures may be weighted. Arrays have one number a cut.
    """
    above = true + false
    spread = np.sqrt(above * (positive + negative - above) * positive * negative)
    product = true * (negative - false) - false * (positive - true)
    return np.asarray(np.divide(product, spread, out=np.zeros_like(spread), where=spread > 0))


def stable_cut(
    logit: Floats,
    label: ArrayLike,
    places: ArrayLike,
    *,
    resamples: int,
    seed: int,
    prior: float | None,
    weight: ArrayLike | None = None,
) -> float:
    """Median of the best cuts of bootstrap samples of places.

    The MCC over the cut is ragged on a few hundred views and its highest spike is often luck; bagging (Breiman 1996)
    finds the middle of the region that is good.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        places: names, (n,); all views of a place are drawn together.
        resamples: how many samples.
        seed: of the draws.
        prior: see `best_cut`; each sample is weighted by its own labels.
        weight: see `fit_scaling`.
    """
    truth, names = np.asarray(label), np.asarray(places)
    given = np.ones(len(truth)) if weight is None else np.asarray(weight)
    rows = [np.flatnonzero(names == place) for place in np.unique(names)]
    rng = np.random.default_rng(seed)
    cuts = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if len(np.unique(truth[drawn])) == 2:
            cuts.append(best_cut(logit[drawn], truth[drawn], prior=prior, weight=given[drawn])[0])
    return float(np.median(cuts)) if cuts else best_cut(logit, truth, prior=prior, weight=given)[0]


def fit_calibration(
    logit: Floats,
    label: ArrayLike,
    places: ArrayLike,
    kind: Literal["platt", "temperature"],
    *,
    resamples: int,
    prior: float | None,
    weight: ArrayLike | None = None,
    seed: int = 0,
) -> Calibration:
    """Scale, then shift so that the MCC-optimal cut lies at 0.5, where the subnet rounds.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        places: names, (n,).
        kind: of the scaling.
        resamples: see `stable_cut`.
        prior: share of roadwork that scaling and cut are for.
        weight: see `fit_scaling`.
        seed: see `stable_cut`.
    """
    scaling = fit_scaling(logit, label, kind, prior=prior, weight=weight)
    scaled = scaling.a * logit + scaling.b
    cut = stable_cut(scaled, label, places, resamples=resamples, seed=seed, prior=prior, weight=weight)
    return Calibration(scaling.a, scaling.b - cut)
