"""From logits to probabilities that mean something, and to the exits of stage 1: numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.scores import clopper_pearson_upper
from cascade.probability import sigmoid

Floats = NDArray[np.float64]
STEP = 0.005
# Newton's method on one or two numbers ends long before this
ITERATIONS = 100
RESAMPLES = 200


@dataclass(frozen=True)
class Calibration:
    """`logit' = a * logit + b`: its sigmoid is the probability, and 0.5 is the MCC-optimal cut."""

    a: float
    b: float

    def __call__(self, logit: ArrayLike) -> Floats:
        """Give probabilities of raw logits."""
        return sigmoid(self.a * np.asarray(logit, dtype=np.float64) + self.b)


@dataclass(frozen=True)
class Exit:
    """One way out of stage 1, as fitted.

    Attributes:
        threshold: leave at or beyond it.
        certified: whether the bound on the share of wrong answers there is within the stated risk.
        bound: Clopper-Pearson upper bound of that share, views counted as independent.
        errors, n: wrong and all views that leave.
        place_bound: the same bound with each place counted once, wrong if any of its views is: views of one place are
            alike, so the truth lies between the two.
    """

    threshold: float
    certified: bool
    bound: float
    errors: int
    n: int
    place_bound: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def fit_scaling(logit: Floats, label: ArrayLike, kind: Literal["platt", "temperature"]) -> Calibration:
    """Fit slope and offset (Platt 1999), or the slope alone, by Newton's method on smoothed targets.

    Platt's targets, (positives + 1) / (positives + 2) and 1 / (negatives + 2), keep the slope finite where the classes
    do not overlap.
    """
    truth = np.asarray(label) == 1
    positive, negative = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design = np.stack([logit, np.ones_like(logit)], axis=1)[:, : 2 if kind == "platt" else 1]
    # unit scale makes the steps well behaved whatever the head's logits are
    scale = float(np.abs(logit).mean()) or 1.0
    design = design / np.array([scale, 1.0])[: design.shape[1]]
    weights = _newton(design, target)
    slope = max(float(weights[0]) / scale, 1e-3)
    return Calibration(slope, float(weights[1]) if kind == "platt" else 0.0)


def _newton(design: Floats, target: Floats) -> Floats:
    weights = np.zeros(design.shape[1])
    for _ in range(ITERATIONS):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - target)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-6 * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        # far from the optimum a full step overshoots
        weights = weights - step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


def best_cut(logit: Floats, label: ArrayLike) -> tuple[float, float]:
    """Find the logit above which calling roadwork gives the best MCC.

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
    """MCC of cuts with `true` of all `positive` and `false` of all `negative` pictures above them; 0 if undefined."""
    above = true + false
    spread = np.sqrt(above * (positive + negative - above) * positive * negative)
    product = true * (negative - false) - false * (positive - true)
    return np.asarray(np.divide(product, spread, out=np.zeros_like(spread), where=spread > 0))


def stable_cut(logit: Floats, label: ArrayLike, places: ArrayLike, seed: int) -> float:
    """Median of the best cuts of `RESAMPLES` bootstrap samples of places.

    The MCC over the cut is ragged on a few hundred views and its highest spike is often luck; bagging (Breiman 1996)
    finds the middle of the region that is good.
    """
    truth, names = np.asarray(label), np.asarray(places)
    rows = [np.flatnonzero(names == place) for place in np.unique(names)]
    rng = np.random.default_rng(seed)
    cuts = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if len(np.unique(truth[drawn])) == 2:
            cuts.append(best_cut(logit[drawn], truth[drawn])[0])
    return float(np.median(cuts)) if cuts else best_cut(logit, truth)[0]


def fit_calibration(
    logit: Floats, label: ArrayLike, places: ArrayLike, kind: Literal["platt", "temperature"], seed: int = 0
) -> Calibration:
    """Scale, then shift so that the MCC-optimal cut lies at 0.5, where the subnet rounds."""
    scaling = fit_scaling(logit, label, kind)
    cut = stable_cut(scaling.a * logit + scaling.b, label, places, seed)
    return Calibration(scaling.a, scaling.b - cut)


def fit_exit(p: Floats, label: ArrayLike, places: ArrayLike, *, start: float, risk: float, confidence: float) -> Exit:
    """Find the exit nearest to 0.5 whose share of wrong answers is bounded by `risk`.

    The search begins at `start`. Where that is certified it walks towards 0.5 for as long as it stays so (fixed
    sequence testing, Angelopoulos et al. 2021: many looks need no correction); where not, it walks outwards to the
    first that is, which is a choice among many and so a little hopeful. Where none is, `start` stays and `certified`
    says no.

    Args:
        p: probabilities, (n,).
        label: 0 or 1, (n,).
        places: (n,).
        start: above 0.5 for the roadwork exit, below for the clear one.
        risk: share of wrong answers allowed among those that leave.
        confidence: of the bound.
    """
    sure = start > 0.5
    scores = p if sure else 1 - p
    wrong = np.asarray(label) != int(sure)
    begin = start if sure else 1 - start

    def vlm(threshold: float) -> Exit:
        leaving = scores >= threshold
        found = _bounds(wrong[leaving], np.asarray(places)[leaving], confidence)
        shown = round(threshold if sure else 1 - threshold, 6)
        return Exit(
            threshold=shown,
            certified=found[0] <= risk,
            bound=found[0],
            errors=found[2],
            n=found[3],
            place_bound=found[1],
        )

    first = vlm(begin)
    if not first.certified:
        outward = (vlm(float(t)) for t in np.arange(begin + STEP, 1, STEP))
        return next((candidate for candidate in outward if candidate.certified), first)
    for threshold in np.arange(begin - STEP, 0.5 - STEP / 2, -STEP):
        candidate = vlm(float(threshold))
        if not candidate.certified:
            break
        first = candidate
    return first


def _bounds(wrong: NDArray[np.bool_], places: NDArray[Any], confidence: float) -> tuple[float, float, int, int]:
    errors, n = int(wrong.sum()), len(wrong)
    everywhere, failed = len(set(places.tolist())), len(set(places[wrong].tolist()))
    by_view = clopper_pearson_upper(errors, n, confidence)
    return by_view, clopper_pearson_upper(failed, everywhere, confidence), errors, n
