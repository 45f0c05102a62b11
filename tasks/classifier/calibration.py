"""From logits to probabilities: scaling, and the shift that puts the MCC-optimal cut at 0.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def fit_scaling(logit: Floats, label: ArrayLike, kind: Literal["platt", "temperature"]) -> Calibration:
    """Fit slope and offset (Platt 1999), or the slope alone, by maximum likelihood on smoothed targets.

    Platt's targets, (positives + 1) / (positives + 2) and 1 / (negatives + 2), keep the slope finite where the classes
    do not overlap.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        kind: platt or temperature.

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
    weights = _most_likely(design, target)
    slope = max(float(weights[0]) / scale, 1e-3)
    return Calibration(slope, float(weights[1]) if kind == "platt" else 0.0)


def _most_likely(design: Floats, target: Floats) -> Floats:
    """Weights (k,) of a logistic regression of targets (n,) on a design (n, k): where its gradient is zero.

    Raises:
        ValueError: no such weights were found; logits that are not finite have none.
    """
    from scipy.optimize import root

    def gradient(weights: Floats) -> Floats:
        return design.T @ (sigmoid(design @ weights) - target)

    def curvature(weights: Floats) -> Floats:
        p = sigmoid(design @ weights)
        return (design * (p * (1 - p))[:, None]).T @ design

    found = root(gradient, np.zeros(design.shape[1]), jac=curvature, tol=TOLERANCE)
    if not np.abs(found.fun).max() <= MAX_GRADIENT * len(target):
        raise ValueError(f"the scaling of {len(target)} logits does not converge: {found.message}")
    weights: Floats = found.x
    return weights


def best_cut(logit: Floats, label: ArrayLike) -> tuple[float, float]:
    """Find the logit above which calling roadwork gives the best MCC.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).

    Returns:
        The middle of the widest best gap between neighbouring logits, and the MCC there.
    """
    values, where = np.unique(logit, return_inverse=True)
    if len(values) < 2:
        return float(values[0]), 0.0
    cuts = (values[1:] + values[:-1]) / 2
    truth = np.asarray(label) == 1
    # counted from above: what lies over each cut
    works = np.bincount(where, weights=truth)[::-1].cumsum()[::-1][1:]
    clear = np.bincount(where, weights=~truth)[::-1].cumsum()[::-1][1:]
    scores = _mcc_of_counts(works, clear, float(truth.sum()), float((~truth).sum()))
    best = np.flatnonzero(np.isclose(scores, scores.max()))
    widest = best[np.argmax((values[1:] - values[:-1])[best])]
    return float(cuts[widest]), float(scores[widest])


def _mcc_of_counts(true: Floats, false: Floats, positive: float, negative: float) -> Floats:
    """MCC of cuts with `true` of all `positive` and `false` of all `negative` pictures above them; 0 if undefined.

    Arrays have one number a cut.
    """
    above = true + false
    spread = np.sqrt(above * (positive + negative - above) * positive * negative)
    product = true * (negative - false) - false * (positive - true)
    return np.asarray(np.divide(product, spread, out=np.zeros_like(spread), where=spread > 0))


def stable_cut(logit: Floats, label: ArrayLike, places: ArrayLike, *, resamples: int, seed: int) -> float:
    """Median of the best cuts of bootstrap samples of places.

    The MCC over the cut is ragged on a few hundred views and its highest spike is often luck; bagging (Breiman 1996)
    finds the middle of the region that is good.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        places: names, (n,); all views of a place are drawn together.
        resamples: how many samples.
        seed: of the draws.
    """
    truth, names = np.asarray(label), np.asarray(places)
    rows = [np.flatnonzero(names == place) for place in np.unique(names)]
    rng = np.random.default_rng(seed)
    cuts = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if len(np.unique(truth[drawn])) == 2:
            cuts.append(best_cut(logit[drawn], truth[drawn])[0])
    return float(np.median(cuts)) if cuts else best_cut(logit, truth)[0]


def fit_calibration(
    logit: Floats,
    label: ArrayLike,
    places: ArrayLike,
    kind: Literal["platt", "temperature"],
    *,
    resamples: int,
    seed: int = 0,
) -> Calibration:
    """Scale, then shift so that the MCC-optimal cut lies at 0.5, where the subnet rounds.

    Args:
        logit: (n,).
        label: 0 or 1, (n,).
        places: names, (n,).
        kind: of the scaling.
        resamples: see `stable_cut`.
        seed: see `stable_cut`.
    """
    scaling = fit_scaling(logit, label, kind)
    cut = stable_cut(scaling.a * logit + scaling.b, label, places, resamples=resamples, seed=seed)
    return Calibration(scaling.a, scaling.b - cut)
