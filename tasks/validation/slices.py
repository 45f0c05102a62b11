"""Scores by level of degradation and by slice, such as weather or time of day."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.config import ValidateParams
from tasks.data.views import LEVELS
from tasks.validation.predictions import ChallengePredictions
from tasks.validation.scores import Rows, mcc_interval, scores_of


def by_level(predictions: ChallengePredictions, params: ValidateParams, prior: float | None) -> dict[str, Any]:
    """Give scores and the interval of MCC at every level."""
    return {
        str(level): _scores_and_interval(predictions, predictions.level == level, params, prior) for level in LEVELS
    }


def by_value(
    predictions: ChallengePredictions, name: str, params: ValidateParams, prior: float | None
) -> dict[str, Any]:
    """Give the scores of every value of a slice that has at least `params.min_slice` views."""
    values = predictions.slices[name]
    selected = {value: values == value for value in sorted(set(values.tolist()) - {""})}
    return {
        value: _slice(predictions, rows, params, prior)
        for value, rows in selected.items()
        if int(rows.sum()) >= params.min_slice
    }


def _slice(
    predictions: ChallengePredictions, rows: Rows, params: ValidateParams, prior: float | None
) -> dict[str, Any]:
    labels = np.unique(predictions.label[rows])
    if labels.tolist() == [1]:
        # some values, such as the distance to the works, are known of roadwork only: compared with all clear views
        together = rows | (predictions.label == 0)
        return _scores_and_interval(predictions, together, params, prior) | {"roadwork": int(rows.sum())}
    if len(labels) == 1:
        # a slice of clear views alone has no MCC to put an interval around
        return scores_of(predictions, rows, prior)
    return _scores_and_interval(predictions, rows, params, prior)


def _scores_and_interval(
    predictions: ChallengePredictions, rows: Rows, params: ValidateParams, prior: float | None
) -> dict[str, Any]:
    return scores_of(predictions, rows, prior) | mcc_interval(predictions, rows, params, prior)
