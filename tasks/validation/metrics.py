"""The report of the step `validate`: scores overall, by level and by slice, the exits of stage 1, and the floors."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.evaluate.prior import prior_weights, share_at
from cascade.evaluate.scores import constant_answer, mcc
from cascade.probability import CUT
from tasks.config import ValidateParams
from tasks.data.views import LEVELS
from tasks.validation.predictions import ChallengePredictions
from tasks.validation.scores import DIGITS, Rows, intervals_of, scores_of
from tasks.validation.slices import by_level, by_value


def measure(
    predictions: ChallengePredictions, params: ValidateParams, exits: dict[str, float], *, prior: float | None
) -> dict[str, Any]:
    """Turn predictions into the report: plain numbers, rounded.

    Args:
        predictions: for all views of the challenge set.
        params: section `validate`.
        exits: `high` and `low`, the probabilities at which an image leaves the cascade after stage 1.
        prior: share of roadwork in the whole, and in each level and slice of its own.

    Returns:
        Scores with intervals, the prior and the constant answer's scores at it, and under their own keys `level`,
        `slice`, `unanswerable`, `exit`, `tta` and `floors`.
    """
    everything = np.ones(len(predictions.p), dtype=bool)
    metrics: dict[str, Any] = scores_of(predictions, everything, prior) | intervals_of(
        predictions, everything, params, prior
    )
    metrics |= {"prior": prior, "constant": constant_answer(share_at(predictions.label, prior))}
    metrics["places"] = len(np.unique(predictions.place))
    metrics["level"] = by_level(predictions, params, prior)
    metrics["slice"] = {name: by_value(predictions, name, params, prior) for name in predictions.slices}
    metrics["unanswerable"] = _unanswerable(predictions, prior)
    metrics["exit"] = _exit(predictions, exits, prior)
    metrics["tta"] = _tta(predictions, prior)
    metrics["floors"] = {"mcc": params.min_mcc, "accuracy": params.min_accuracy}
    metrics["floors_met"] = metrics["mcc"] >= params.min_mcc and metrics["accuracy"] >= params.min_accuracy
    return metrics


def _unanswerable(predictions: ChallengePredictions, prior: float | None) -> dict[str, Any]:
    """Share of the roadwork views that lost every labelled object to the crop, which no classifier can answer.

    `mcc_without` is the MCC on the other views.
    """
    works, answerable = predictions.label == 1, predictions.answerable
    by_level = {
        str(level): round(float(np.mean(~answerable[works & (predictions.level == level)])), DIGITS)
        for level in LEVELS
        if np.any(works & (predictions.level == level))
    }
    label, p = predictions.label[answerable], predictions.p[answerable]
    return {
        "share": round(float(np.mean(~answerable[works])), DIGITS),
        "level": by_level,
        "mcc_without": round(mcc(label, p > CUT, prior_weights(label, prior)), DIGITS),
    }


def _exit(predictions: ChallengePredictions, exits: dict[str, float], prior: float | None) -> dict[str, Any]:
    """Share of the views that stage 1 answers alone, and how often it is wrong on them, both at the prior."""
    high, low = predictions.p >= exits["high"], predictions.p <= exits["low"]
    wrong = (high & (predictions.label == 0)) | (low & (predictions.label == 1))
    weight = prior_weights(predictions.label, prior)

    def risk(leaving: Rows) -> float:
        return round(float(weight[wrong & leaving].sum() / weight[leaving].sum()), DIGITS) if leaving.any() else 0.0

    return {
        "high": exits["high"],
        "low": exits["low"],
        "share": round(float(np.average(high | low, weights=weight)), DIGITS),
        "risk": risk(high | low),
        "risk_high": risk(high),
        "risk_low": risk(low),
    }


def _tta(predictions: ChallengePredictions, prior: float | None) -> dict[str, float]:
    """Share of the views that got test-time augmentation, and the MCC without it."""
    weight = prior_weights(predictions.label, prior)
    return {
        "share": round(float(np.average(predictions.augmented, weights=weight)), DIGITS),
        "mcc_of_first": round(mcc(predictions.label, predictions.first > CUT, weight), DIGITS),
    }
