"""Scores and bootstrap intervals of some of the predictions at a prior, as plain rounded numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import Statistic, accuracy, bootstrap_interval, classification_scores, mcc
from cascade.probability import CUT
from tasks.config import ValidateParams
from tasks.validation.predictions import ChallengePredictions

Rows = NDArray[np.bool_]
DIGITS = 6


def scores_of(predictions: ChallengePredictions, rows: Rows, prior: float | None) -> dict[str, Any]:
    """Give MCC, accuracy, AUC and the like of the views that `rows` (n,) selects."""
    found = classification_scores(predictions.label[rows], predictions.p[rows], prior=prior)
    return {name: round(value, DIGITS) for name, value in found.items()}


def intervals_of(
    predictions: ChallengePredictions, rows: Rows, params: ValidateParams, prior: float | None
) -> dict[str, float]:
    """Give the intervals of MCC and accuracy."""
    low, high = _interval(
        predictions, rows, params, lambda label, p: accuracy(label, p > CUT, prior_weights(label, prior))
    )
    return {**mcc_interval(predictions, rows, params, prior), "accuracy_low": low, "accuracy_high": high}


def mcc_interval(
    predictions: ChallengePredictions, rows: Rows, params: ValidateParams, prior: float | None
) -> dict[str, float]:
    """Give the interval of MCC."""
    low, high = _interval(predictions, rows, params, lambda label, p: mcc(label, p > CUT, prior_weights(label, prior)))
    return {"mcc_low": low, "mcc_high": high}


def _interval(
    predictions: ChallengePredictions, rows: Rows, params: ValidateParams, statistic: Statistic
) -> tuple[float, float]:
    low, high = bootstrap_interval(
        statistic,
        predictions.label[rows],
        predictions.p[rows],
        predictions.place[rows],
        resamples=params.bootstrap,
        confidence=params.confidence,
        seed=params.seed,
    )
    return round(low, DIGITS), round(high, DIGITS)
