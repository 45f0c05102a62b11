"""Which stages are switched on: each is added to the cheaper ones before it, and kept if it lowers the loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.prior import prior_weights
from cascade.release.manifest import FusionRule
from tasks.config import SelectStagesParams
from tasks.selection.replay import Floats, ReplayResult, flips, replay
from tasks.selection.stage_predictions import StagePredictions

EDGE = 1e-6


@dataclass(frozen=True)
class StageSelection:
    """What was decided on the calibration split.

    Attributes:
        on: the stages that are switched on, in the order of the cascade.
        rule: how they are combined.
        added: of every stage but the first, what it changed when it was added: `wrong_to_right`, `right_to_wrong`,
            `net`, `weighted_net` (answers at the prior), `log_loss` before and after (nats), and `gain_low`, by how
            much it lowers the loss at least.
    """

    on: list[str]
    rule: FusionRule
    added: dict[str, dict[str, Any]] = field(default_factory=dict)


def select(predictions: StagePredictions, params: SelectStagesParams, *, prior: float | None) -> StageSelection:
    """Go through the stages in the cascade's order and keep what improves those before it; the classifier stays.

    Few answers flip, so that their count alone is chance: a stage must also lower the log loss, which every answer is
    part of, and by more than a few places would explain: with the wanted confidence, by bootstrap over places. Each
    stage is measured as an addition to the cheaper ones that were kept, never as a substitute for them.

    Args:
        predictions: of the calibration split; the classifier first.
        params: section `select_stages`.
        prior: share of roadwork that net value and log loss are for.
    """
    stages = list(predictions.stages)
    selected = StageSelection(stages[:1], fit_rule(predictions, stages[:1], params, prior=prior))
    for name in stages[1:]:
        longer = [*selected.on, name]
        rule = fit_rule(predictions, longer, params, prior=prior)
        before, after = replay(predictions, selected.on, selected.rule), replay(predictions, longer, rule)
        losses = _log_loss(before, prior, after.views), _log_loss(after, prior, before.views)
        gain, changed = losses[0] - losses[1], flips(before, after, prior=prior)
        low = gain_low(predictions, before, after, params, prior=prior) if params.confidence else gain
        rounded = {"log_loss": [round(loss, 4) for loss in losses], "gain_low": round(low, 4)}
        added = {**selected.added, name: {**changed, **rounded}}
        keep = changed["weighted_net"] >= params.min_net and gain > params.min_gain and low > 0
        selected = StageSelection(longer, rule, added) if keep else replace(selected, added=added)
    return selected


def fit_rule(
    predictions: StagePredictions, stages: Sequence[str], params: SelectStagesParams, *, prior: float | None
) -> FusionRule:
    """Weights of the opinion pool with the least log loss at the prior; none unless `rule_min_gain` lower than without.

    Every combination of `rule_weights` is tried whose largest weight is the largest there is, since only ratios count.
    """
    estimating = [name for name in stages if _has_estimates(predictions, name)]
    best, least = FusionRule(), _log_loss(replay(predictions, stages, FusionRule()), prior)
    for weights in itertools.product(params.rule_weights, repeat=len(estimating)):
        if max(weights, default=0.0) != max(params.rule_weights):
            continue
        rule = FusionRule(weights={name: weight for name, weight in zip(estimating, weights, strict=True) if weight})
        loss = _log_loss(replay(predictions, stages, rule), prior)
        if loss < least - params.rule_min_gain:
            best, least = rule, loss
    return best


def gain_low(
    predictions: StagePredictions,
    before: ReplayResult,
    after: ReplayResult,
    params: SelectStagesParams,
    *,
    prior: float | None,
) -> float:
    """Lower bound of what the second run lowers the mean log loss by, nats, on the views of both.

    One-sided percentile bootstrap over whole places (Efron and Tibshirani 1993); 0 where all views are of one place.
    Each view keeps the weight that it has among all of them, in every resample: a mean of the weighted gains.
    """
    from scipy.stats import bootstrap

    views, one, two = np.intersect1d(before.views, after.views, assume_unique=True, return_indices=True)
    gain, weight = _losses(before)[one] - _losses(after)[two], prior_weights(before.label[one], prior)
    _, place = np.unique(np.asarray(predictions.place)[views], return_inverse=True)
    if place.max() == 0:
        return 0.0
    found = bootstrap(
        (np.bincount(place, weight * gain), np.bincount(place, weight)),
        lambda total, whole, axis: total.sum(axis=axis) / whole.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=params.resamples,
        confidence_level=params.confidence,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(params.seed),
    )
    return float(found.confidence_interval.low)


def _has_estimates(predictions: StagePredictions, name: str) -> bool:
    results = predictions.stages[name].with_prior
    return any(result is not None and result.probability is not None for result in results)


def _log_loss(run: ReplayResult, prior: float | None, among: NDArray[np.int64] | None = None) -> float:
    """Mean in nats at the prior over the run's views, or over those of them that are `among` others too."""
    rows = slice(None) if among is None else np.isin(run.views, among)
    return float(np.average(_losses(run)[rows], weights=prior_weights(run.label[rows], prior)))


def _losses(run: ReplayResult) -> Floats:
    p = np.clip(run.p, EDGE, 1 - EDGE)
    return np.asarray(-np.where(run.label == 1, np.log(p), np.log(1 - p)))
