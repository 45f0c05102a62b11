"""The report of the step `validate`: scores overall, by level and by slice, the exits of stage 1, and the floors."""

from __future__ import annotations

from typing import Any

import numpy as np

from cascade.evaluate.scores import mcc
from cascade.probability import CUT
from tasks.config import ValidateParams
from tasks.data.schema import SLICES
from tasks.data.views import LEVELS
from tasks.validation.predictions import ChallengePredictions
from tasks.validation.scores import DIGITS, intervals_of, scores_of
from tasks.validation.slices import by_level, by_value


def measure(predictions: ChallengePredictions, params: ValidateParams, exits: dict[str, float]) -> dict[str, Any]:
    """Turn predictions into the report: plain numbers, rounded.

    Args:
        predictions: for all views of the challenge set.
        params: section `validate`.
        exits: `high` and `low`, the probabilities at which an image leaves the cascade after stage 1.

    Returns:
        Scores with intervals, and under their own keys `level`, `slice`, `unanswerable`, `exit`, `tta` and `floors`.
    """
    everything = np.ones(len(predictions.p), dtype=bool)
    metrics: dict[str, Any] = scores_of(predictions, everything) | intervals_of(predictions, everything, params)
    metrics["places"] = len(np.unique(predictions.place))
    metrics["level"] = by_level(predictions, params)
    metrics["slice"] = {name: by_value(predictions, name, params) for name in SLICES}
    metrics["unanswerable"] = _unanswerable(predictions)
    metrics["exit"] = _exit(predictions, exits)
    metrics["tta"] = _tta(predictions)
    metrics["floors"] = {"mcc": params.min_mcc, "accuracy": params.min_accuracy}
    metrics["floors_met"] = metrics["mcc"] >= params.min_mcc and metrics["accuracy"] >= params.min_accuracy
    return metrics


def _unanswerable(predictions: ChallengePredictions) -> dict[str, Any]:
    """Share of the roadwork views that lost every labelled object to the crop, which no classifier can answer.

    `mcc_without` is the MCC on the other views.
    """
    works, answerable = predictions.label == 1, predictions.answerable
    by_level = {
        str(level): round(float(np.mean(~answerable[works & (predictions.level == level)])), DIGITS)
        for level in LEVELS
        if np.any(works & (predictions.level == level))
    }
    return {
        "share": round(float(np.mean(~answerable[works])), DIGITS),
        "level": by_level,
        "mcc_without": round(mcc(predictions.label[answerable], predictions.p[answerable] > CUT), DIGITS),
    }


def _exit(predictions: ChallengePredictions, exits: dict[str, float]) -> dict[str, Any]:
    """Share of the views that stage 1 answers alone, and how often it is wrong on them."""
    high, low = predictions.p >= exits["high"], predictions.p <= exits["low"]
    wrong = (high & (predictions.label == 0)) | (low & (predictions.label == 1))
    left = int(np.sum(high | low))
    return {
        "high": exits["high"],
        "low": exits["low"],
        "share": round(left / len(predictions.p), DIGITS),
        "risk": round(float(wrong.sum()) / max(left, 1), DIGITS),
        "risk_high": round(float(np.sum(wrong & high)) / max(int(high.sum()), 1), DIGITS),
        "risk_low": round(float(np.sum(wrong & low)) / max(int(low.sum()), 1), DIGITS),
    }


def _tta(predictions: ChallengePredictions) -> dict[str, float]:
    """Share of the views that got test-time augmentation, and the MCC without it."""
    return {
        "share": round(float(predictions.augmented.mean()), DIGITS),
        "mcc_of_first": round(mcc(predictions.label, predictions.first > CUT), DIGITS),
    }
