"""Combinations of stages, computed by the router from the results of each stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.core.router import NoEstimateError, decide
from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import classification_scores, clopper_pearson_upper
from cascade.probability import CUT
from cascade.release.manifest import FusionRule
from cascade.stages.base import StageResult
from tasks.selection.record import NO_ESTIMATE
from tasks.selection.stage_predictions import CLASSIFIER, StagePredictions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReplayResult:
    """The answers of one combination on the n views on which they are known; arrays of shape (n,).

    Attributes:
        stages: the combination, in the order of the cascade.
        views: which views, ascending.
        label: 0 clear, 1 roadwork.
        p: probability of roadwork.
        decided_by: index of the stage that decided, -1 where none did.
        milliseconds: sum over the stages that ran.
    """

    stages: tuple[str, ...]
    views: NDArray[np.int64]
    label: NDArray[np.int64]
    p: Floats
    decided_by: NDArray[np.int64]
    milliseconds: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is right, rounded as the validators do."""
        return np.asarray((self.p > CUT) == (self.label == 1))


def replay(predictions: StagePredictions, stages: Sequence[str], rule: FusionRule) -> ReplayResult:
    """Let a cascade of some stages answer; without the classifier the others' results are those without a prior.

    A view is left out where the cascade comes to a stage that did not run on it.
    """
    records = [predictions.stages[name] for name in stages]
    columns = [record.with_prior if CLASSIFIER in stages else record.without_prior for record in records]
    every = [_answer(results, rule) for results in zip(*columns, strict=True)]
    known = np.array([index for index, answer in enumerate(every) if answer is not None], dtype=np.int64)
    p, by, ms = (np.array(column) for column in zip(*(one for one in every if one is not None), strict=True))
    label = np.array(predictions.label)[known]
    return ReplayResult(tuple(stages), known, label, p.astype(np.float64), by.astype(np.int64), ms)


def without(predictions: StagePredictions, stages: Sequence[str], name: str, rule: FusionRule) -> ReplayResult:
    """The cascade less one stage, under the same rule."""
    return replay(predictions, [stage for stage in stages if stage != name], rule)


def subset_runs(
    predictions: StagePredictions, stages: Sequence[str], rule: FusionRule
) -> Mapping[tuple[str, ...], ReplayResult]:
    """Every combination of stages in their order, for the plot of accuracy against cost."""
    sizes = range(1, len(stages) + 1)
    subsets = (subset for size in sizes for subset in itertools.combinations(stages, size))
    return {subset: replay(predictions, subset, rule) for subset in subsets}


def flips(before: ReplayResult, after: ReplayResult, *, prior: float | None) -> dict[str, Any]:
    """How many answers became right and wrong from one run to the other, on the views that both know.

    `weighted_net` is their difference at the prior; the other three count answers as they are.
    """
    _, one, two = np.intersect1d(before.views, after.views, assume_unique=True, return_indices=True)
    was, now = before.right[one], after.right[two]
    gained, lost = int(np.sum(now & ~was)), int(np.sum(was & ~now))
    weight = prior_weights(before.label[one], prior)
    weighted = round(float(weight[now & ~was].sum() - weight[was & ~now].sum()), 6)
    return {"wrong_to_right": gained, "right_to_wrong": lost, "net": gained - lost, "weighted_net": weighted}


def figures(run: ReplayResult, *, prior: float | None) -> dict[str, float]:
    """Scores of a run at a prior: mcc, accuracy, reward, auc and the like, rounded."""
    return {name: round(value, 6) for name, value in classification_scores(run.label, run.p, prior=prior).items()}


def cost(run: ReplayResult) -> dict[str, float]:
    """Mean and 99th percentile of the milliseconds an image costs, one image at a time, of the images as they are."""
    mean, slow = float(np.mean(run.milliseconds)), float(np.quantile(run.milliseconds, 0.99))
    return {"mean_ms": round(mean, 2), "p99_ms": round(slow, 2)}


def full_cost(predictions: StagePredictions, stages: Sequence[str]) -> float:
    """Mean milliseconds of running every stage on every image."""
    results = [predictions.stages[name].without_prior for name in stages]
    return float(sum(np.mean([result.milliseconds for result in column if result]) for column in results))


def leaving(run: ReplayResult, confidence: float, *, prior: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Per stage: the share of images that leave the cascade there, how many of them wrongly, and a bound on that risk.

    Share, risk and bound are for the prior, `errors` and `n` count images. The bound is that of the share in the data
    by Clopper and Pearson, one-sided, its odds times the ratio of the weight of a wrong image and a right one. Which
    label the wrong ones have is not known beforehand, since both leave here: the heavier one is assumed.

    Args:
        run: of a cascade.
        confidence: of the bound.
        prior: share of roadwork.
    """
    weight = prior_weights(run.label, prior)
    for index, name in enumerate(run.stages):
        there = run.decided_by == index
        wrong, n = int(np.sum(there & ~run.right)), int(there.sum())
        right, whole = weight[there & run.right], float(weight[there].sum())
        odds = float(weight.max() / right.mean()) if len(right) else 1.0
        bound = clopper_pearson_upper(wrong, n, confidence, odds)
        yield (
            name,
            {
                "share": round(whole / len(run.p), 6),
                "errors": wrong,
                "n": n,
                "risk": round(float(weight[there & ~run.right].sum()) / whole, 6) if n else None,
                "risk_bound": round(bound, 6),
            },
        )


def _answer(results: Sequence[StageResult | None], rule: FusionRule) -> tuple[float, int, float] | None:
    """Probability, index of the deciding stage and milliseconds of one view; None where a result is missing."""
    trace: list[StageResult] = []
    for result in results:
        if result is None:
            return None
        trace.append(result)
        if result.verdict != "undecided":
            break
    decided_by = len(trace) - 1 if trace[-1].verdict != "undecided" else -1
    try:
        p = decide(trace, rule).probability
    except NoEstimateError:
        p = NO_ESTIMATE
    return p, decided_by, sum(result.milliseconds for result in trace)
