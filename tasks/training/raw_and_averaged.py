"""Raw against averaged weights: both are measured on pictures that no training saw, and the averaged ones are kept.

An average of few updates lies near the weights that the training began with, and a head that was never trained looks
like one that learnt by heart. Both figures beside each other tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import classification_scores
from cascade.probability import sigmoid

Floats = NDArray[np.float64]
SHOWN = ("mcc", "accuracy", "auc")
SURE = 2.0  # standard errors of the mean difference, about 95 %


def spread_rows(label: Sequence[int] | NDArray[Any], count: int) -> list[int]:
    """Choose at most `count` pictures, as many of each label and evenly spread, so that it is cheap to measure them."""
    labels = np.asarray(label)
    chosen: set[int] = set()
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        steps = np.linspace(0, len(rows) - 1, min(len(rows), max(1, count // len(np.unique(labels)))))
        chosen.update(int(row) for row in rows[steps.round().astype(int)])
    return sorted(chosen)


def compare_weights(
    label: ArrayLike, raw: ArrayLike, averaged: ArrayLike, *, prior: float | None, setting: str
) -> dict[str, Any]:
    """Compare answers of the weights of the last step and of their average.

    Args:
        label: of n views that were not trained on, 0 or 1.
        raw: logits of the weights of the last step, (n,), not calibrated.
        averaged: of the averaged weights, (n,).
        prior: share of roadwork that the figures are for.
        setting: the parameter that says how weights are averaged, for the sentence.

    Returns:
        Log loss (nats), MCC, accuracy and AUC of both, `views`, and a sentence.
    """
    truth = np.asarray(label, dtype=np.int64)
    weight = prior_weights(truth, prior)
    losses = [_log_loss(truth, np.asarray(logit, dtype=np.float64)) for logit in (raw, averaged)]
    sides = [_scores(truth, logit, loss, weight, prior) for logit, loss in zip((raw, averaged), losses, strict=True)]
    change = weight * (losses[1] - losses[0])
    sentence = _sentence(sides, float(change.mean()), SURE * float(change.std()) / len(truth) ** 0.5, setting)
    return {"views": len(truth), "raw": sides[0], "averaged": sides[1], "sentence": sentence}


def _scores(
    label: NDArray[np.int64], logit: ArrayLike, loss: Floats, weight: Floats, prior: float | None
) -> dict[str, float]:
    found = classification_scores(label, sigmoid(np.asarray(logit, dtype=np.float64)), prior=prior)
    shown = {name: round(found[name], 6) for name in SHOWN if name in found}
    return {"log_loss": round(float(np.average(loss, weights=weight)), 6), **shown}


def _log_loss(label: NDArray[np.int64], logit: Floats) -> Floats:
    """Cross-entropy of each view, (n,)."""
    return np.asarray(np.logaddexp(0.0, np.where(label == 1, -logit, logit)))


def _sentence(sides: Sequence[dict[str, float]], change: float, sure: float, setting: str) -> str:
    given = f"log loss {sides[1]['log_loss']:.4f}, that of the raw weights {sides[0]['log_loss']:.4f}"
    if change > sure:
        return f"the averaged weights are kept and are worse: {given}; change {setting}, or train for more steps"
    if change < -sure:
        return f"the averaged weights are kept and are better: {given}"
    return f"the averaged weights are kept; chance explains the difference: {given}"
