"""What combinations of stages are worth, computed from recorded outcomes by the router alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.core.router import NoEstimateError, decide
from cascade.evaluate.scores import classification_scores, clopper_pearson_upper
from cascade.release.manifest import FusionRule
from cascade.stages.base import StageResult
from tasks.selection.stage_predictions import FIRST, StagePredictions

Floats = NDArray[np.float64]
# a stage that has no opinion says neither
NEITHER = 0.5
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
EDGE = 1e-6
RESAMPLES, SEED = 2000, 7


@dataclass(frozen=True)
class ReplayResult:
    """One combination over the shots of which it is known what it says; arrays of shape (n,).

    Attributes:
        shots: which ones, ascending.
        p: probability of roadwork.
        by: index of the stage that was sure, -1 where none was.
        milliseconds: sum over the stages that were asked.
    """

    stages: tuple[str, ...]
    shots: NDArray[np.int64]
    label: NDArray[np.int64]
    p: Floats
    by: NDArray[np.int64]
    milliseconds: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the answer is right, rounding as the validators do."""
        return np.asarray((self.p > NEITHER) == (self.label == 1))


def replay(records: StagePredictions, stages: Sequence[str], rule: FusionRule) -> ReplayResult:
    """Let a cascade of some stages answer; without stage 1 the others are taken as they answer without a prior.

    A shot is left out where the cascade comes to a stage that was not asked about it.
    """
    said = records.after if FIRST in stages else records.alone
    every = [_one([said[name][index] for name in stages], rule) for index in range(len(records.label))]
    known = np.array([index for index, played in enumerate(every) if played is not None], dtype=np.int64)
    p, by, milliseconds = (np.array(column) for column in zip(*(one for one in every if one is not None), strict=True))
    label = np.array(records.label)[known]
    return ReplayResult(tuple(stages), known, label, p.astype(np.float64), by.astype(np.int64), milliseconds)


def _one(results: Sequence[StageResult | None], rule: FusionRule) -> tuple[float, int, float] | None:
    asked: list[StageResult] = []
    for seen in results:
        if seen is None:
            return None
        asked.append(seen)
        if seen.verdict != "undecided":
            break
    sure = len(asked) - 1 if asked[-1].verdict != "undecided" else -1
    try:
        p = decide(asked, rule).probability
    except NoEstimateError:
        p = NEITHER
    return p, sure, sum(seen.milliseconds for seen in asked)


def fit_rule(records: StagePredictions, stages: Sequence[str]) -> FusionRule:
    """Weights of the opinion pool with the least log loss on the calibration split; none unless that beats the last."""
    with_opinion = [
        name
        for name in stages
        if any(seen is not None and seen.probability is not None for seen in records.after[name])
    ]
    best, least = FusionRule(), _log_loss(replay(records, stages, FusionRule()))
    for weights in itertools.product(WEIGHTS, repeat=len(with_opinion)):
        if max(weights, default=0.0) != max(WEIGHTS):
            continue
        rule = FusionRule(weights={name: weight for name, weight in zip(with_opinion, weights, strict=True) if weight})
        loss = _log_loss(replay(records, stages, rule))
        # a hair's breadth is rounding, and the simpler rule stays
        if loss < least - 1e-4:
            best, least = rule, loss
    return best


def select(
    records: StagePredictions, stages: Sequence[str], min_net: int = 0, min_gain: float = 0.0, confidence: float = 0.0
) -> tuple[list[str], dict[str, dict[str, Any]], FusionRule]:
    """Go through the stages in the cascade's order and keep what adds to those before it; stage 1 always stays.

    Few answers flip, so that their count alone is luck: a stage must also lower the log loss, which every answer is in,
    and not by a few lucky places: with the wanted confidence, by bootstrap over places, it must do so at all.
    Each is judged as an addition to the cheaper ones that were kept, never as a substitute for them.

    Args:
        records: of the calibration split.
        stages: stage 1 first.
        min_net: answers put right less answers spoilt, at least.
        min_gain: of the mean log loss, nats, more than this.
        confidence: of a gain above 0, one-sided; 0 asks for none.

    Returns:
        The stages that stay, what each one did when it was added (`flips`, `log_loss` before and after, and `gain_low`,
        what it lowers the loss by with that confidence), and the rule of those that stay.
    """
    kept, rule = list(stages[:1]), fit_rule(records, stages[:1])
    judged: dict[str, dict[str, Any]] = {}
    for name in stages[1:]:
        trial = [*kept, name]
        changed = fit_rule(records, trial)
        before, after = replay(records, kept, rule), replay(records, trial, changed)
        losses = _log_loss(before, after.shots), _log_loss(after, before.shots)
        low = gain_low(records, before, after, confidence) if confidence else losses[0] - losses[1]
        judged[name] = {
            **flips(before, after),
            "log_loss": [round(loss, 4) for loss in losses],
            "gain_low": round(low, 4),
        }
        if judged[name]["net"] >= min_net and losses[0] - losses[1] > min_gain and low > 0:
            kept, rule = trial, changed
    return kept, judged, rule


def gain_low(records: StagePredictions, before: ReplayResult, after: ReplayResult, confidence: float) -> float:
    """Lower bound of what the second run lowers the mean log loss by, on the shots of both; resamples whole places."""
    from scipy.stats import bootstrap

    shots, one, two = np.intersect1d(before.shots, after.shots, assume_unique=True, return_indices=True)
    gain = _losses(before)[one] - _losses(after)[two]
    _, place = np.unique(np.asarray(records.place)[shots], return_inverse=True)
    if place.max() == 0:
        # one place proves nothing
        return 0.0
    found = bootstrap(
        (np.bincount(place, gain), np.bincount(place)),
        lambda total, count, axis: total.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    return float(found.confidence_interval.low)


def without(records: StagePredictions, stages: Sequence[str], name: str, rule: FusionRule) -> ReplayResult:
    """The cascade less one stage, under the same rule."""
    return replay(records, [stage for stage in stages if stage != name], rule)


def flips(before: ReplayResult, after: ReplayResult) -> dict[str, int]:
    """How many answers became right and wrong from one run to the other, of the shots that both know."""
    _, one, two = np.intersect1d(before.shots, after.shots, assume_unique=True, return_indices=True)
    was, now = before.right[one], after.right[two]
    gained, lost = int(np.sum(now & ~was)), int(np.sum(was & ~now))
    return {"wrong_to_right": gained, "right_to_wrong": lost, "net": gained - lost}


def figures(run: ReplayResult) -> dict[str, float]:
    """Scores of a run: mcc, accuracy, reward, auc and the like, rounded."""
    return {name: round(value, 6) for name, value in classification_scores(run.label, run.p).items()}


def cost(run: ReplayResult) -> dict[str, float]:
    """Mean and 99th percentile of the milliseconds an image costs, stages asked one image at a time."""
    mean, slow = float(np.mean(run.milliseconds)), float(np.quantile(run.milliseconds, 0.99))
    return {"mean_ms": round(mean, 2), "p99_ms": round(slow, 2)}


def leaving(run: ReplayResult, confidence: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Per stage: the share of images that leave there, how many of them wrongly, and the bound on that risk."""
    for index, name in enumerate(run.stages):
        there = run.by == index
        wrong, n = int(np.sum(there & ~run.right)), int(there.sum())
        yield (
            name,
            {
                "share": round(n / len(run.p), 6),
                "errors": wrong,
                "n": n,
                "risk": round(wrong / n, 6) if n else None,
                "risk_bound": round(clopper_pearson_upper(wrong, n, confidence), 6),
            },
        )


def everything_ms(records: StagePredictions, stages: Sequence[str]) -> float:
    """Mean milliseconds of asking every stage about every image."""
    return float(sum(np.mean([seen.milliseconds for seen in records.alone[name] if seen]) for name in stages))


def _log_loss(run: ReplayResult, among: NDArray[np.int64] | None = None) -> float:
    """Mean over the run's shots, or over those of them that are also `among` others."""
    rows = slice(None) if among is None else np.isin(run.shots, among)
    return float(np.mean(_losses(run)[rows]))


def _losses(run: ReplayResult) -> Floats:
    p = np.clip(run.p, EDGE, 1 - EDGE)
    return np.asarray(-np.where(run.label == 1, np.log(p), np.log(1 - p)))


def subset_runs(
    records: StagePredictions, stages: Sequence[str], rule: FusionRule
) -> Mapping[tuple[str, ...], ReplayResult]:
    """Every combination of stages in their order, for the plot of accuracy against cost."""
    sizes = range(1, len(stages) + 1)
    chosen = (subset for size in sizes for subset in itertools.combinations(stages, size))
    return {subset: replay(records, subset, rule) for subset in chosen}
