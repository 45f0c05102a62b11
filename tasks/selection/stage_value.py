"""What each stage is worth: the expected reward of the cascade with it less that without it, on the challenge set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade.probability import CUT
from tasks.reward.change import ExpectedReward, change_words, expected_by_place
from tasks.reward.places import Estimate, draw_places, place_counts
from tasks.selection.replay import ReplayResult, cost, replay
from tasks.selection.select import StageSelection
from tasks.selection.stage_predictions import StagePredictions

DIGITS = 6


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn.

    Attributes:
        resamples: of places.
        seed: of the resamples.
        confidence: of the interval.
    """

    resamples: int
    seed: int
    confidence: float


def cascade_value(
    predictions: StagePredictions, cascade: ReplayResult, drawn: Bootstrap, prior: float | None
) -> dict[str, float]:
    """Expected reward of the cascade at the subnet's sample sizes, with the interval by place."""
    (found,) = _expected(predictions, [cascade], drawn, prior)
    return _rounded(found.estimate(drawn.confidence))


def stage_value(
    predictions: StagePredictions, name: str, selected: StageSelection, drawn: Bootstrap, prior: float | None
) -> dict[str, float] | None:
    """Difference that a stage makes to the expected reward; None for an only stage, and where no view is common.

    A stage that is off is added to those that are on; views on which one of the two cascades is unknown are left out.
    """
    pair = _with_and_without(predictions, name, selected)
    if pair is None:
        return None
    if not len(np.intersect1d(pair[0].views, pair[1].views)):
        return None
    new, old = _expected(predictions, list(pair), drawn, prior)
    return _rounded(new.above(old, drawn.confidence)) | {"confidence": drawn.confidence}


def stage_milliseconds(predictions: StagePredictions, name: str, selected: StageSelection) -> float | None:
    """By how much longer an image takes with a stage, mean ms; None for the only stage."""
    pair = _with_and_without(predictions, name, selected)
    return None if pair is None else round(cost(pair[0])["mean_ms"] - cost(pair[1])["mean_ms"], 2)


def value_sentence(name: str, change: dict[str, float], milliseconds: float | None) -> str:
    """The figures of `stage_value` in a sentence."""
    words = change_words(change["value"], (change["low"], change["high"]), change.get("confidence", 0.95), milliseconds)
    return f"The {name} stage is worth {words}."


def _with_and_without(
    predictions: StagePredictions, name: str, selected: StageSelection
) -> tuple[ReplayResult, ReplayResult] | None:
    less = [stage for stage in selected.on if stage != name]
    if not less:
        return None
    more = [stage for stage in predictions.stages if stage in selected.on or stage == name]
    return replay(predictions, more, selected.rule), replay(predictions, less, selected.rule)


def _expected(
    predictions: StagePredictions, runs: list[ReplayResult], drawn: Bootstrap, prior: float | None
) -> list[ExpectedReward]:
    """Of several runs on the views that all know, with the same draws of places."""
    views = runs[0].views
    for run in runs[1:]:
        views = np.intersect1d(views, run.views, assume_unique=True)
    place = np.asarray(predictions.place)[views]
    draws = draw_places(len(np.unique(place)), resamples=drawn.resamples, seed=drawn.seed)
    found = []
    for run in runs:
        rows = np.isin(run.views, views)
        found.append(expected_by_place(place_counts(run.label[rows], run.p[rows] > CUT, place), draws, prior))
    return found


def _rounded(one: Estimate) -> dict[str, float]:
    return {"value": round(one.value, DIGITS), "low": round(one.low, DIGITS), "high": round(one.high, DIGITS)}
