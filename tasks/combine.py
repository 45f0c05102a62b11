"""What combinations of stages are worth, computed from recorded outcomes by the router alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.manifest import Rule
from cascade.router import NoEstimateError, Outcome, decide
from cascade.scores import classification_scores, clopper_pearson_upper
from tasks.outcomes import FIRST, Records

Floats = NDArray[np.float64]
# a stage that has no opinion says neither
NEITHER = 0.5
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
EDGE = 1e-6


@dataclass(frozen=True)
class Run:
    """One combination over all shots; arrays of shape (n,).

    Attributes:
        p: probability of roadwork.
        by: index of the stage that was sure, -1 where none was.
        milliseconds: sum over the stages that were asked.
    """

    stages: tuple[str, ...]
    label: NDArray[np.int64]
    p: Floats
    by: NDArray[np.int64]
    milliseconds: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the answer is right, rounding as the validators do."""
        return np.asarray((self.p > NEITHER) == (self.label == 1))


def play(records: Records, stages: Sequence[str], rule: Rule) -> Run:
    """Let a cascade of some stages answer; without stage 1 the others are taken as they answer without a prior."""
    said = records.after if FIRST in stages else records.alone
    played = [_one([said[name][index] for name in stages], rule) for index in range(len(records.label))]
    p, by, milliseconds = (np.array(column) for column in zip(*played, strict=True))
    return Run(tuple(stages), np.array(records.label), p.astype(np.float64), by.astype(np.int64), milliseconds)


def _one(outcomes: Sequence[Outcome], rule: Rule) -> tuple[float, int, float]:
    sure = next((index for index, seen in enumerate(outcomes) if seen.outcome != "undecided"), -1)
    asked = outcomes if sure < 0 else outcomes[: sure + 1]
    try:
        p = decide(asked, rule).probability
    except NoEstimateError:
        p = NEITHER
    return p, sure, sum(seen.milliseconds for seen in asked)


def fit_rule(records: Records, stages: Sequence[str]) -> Rule:
    """Weights of the opinion pool with the least log loss on the calibration split; none unless that beats the last."""
    with_opinion = [name for name in stages if any(seen.probability is not None for seen in records.after[name])]
    best, least = Rule(), _log_loss(play(records, stages, Rule()))
    for weights in itertools.product(WEIGHTS, repeat=len(with_opinion)):
        if max(weights, default=0.0) != max(WEIGHTS):
            continue
        rule = Rule(weights={name: weight for name, weight in zip(with_opinion, weights, strict=True) if weight})
        loss = _log_loss(play(records, stages, rule))
        # a hair's breadth is rounding, and the simpler rule stays
        if loss < least - 1e-4:
            best, least = rule, loss
    return best


def choose(
    records: Records, stages: Sequence[str], min_net: int = 0
) -> tuple[list[str], dict[str, dict[str, int]], Rule]:
    """Drop stages of too little net value from the full cascade, the worst first; stage 1 always stays.

    Returns:
        The stages that stay, each stage's flips when it was judged last, and the rule of those that stay.
    """
    left = list(stages)
    judged: dict[str, dict[str, int]] = {}
    while True:
        rule = fit_rule(records, left)
        whole = play(records, left, rule)
        for name in left[1:]:
            judged[name] = flips(without(records, left, name, rule), whole)
        worst = min(left[1:], key=lambda name: judged[name]["net"], default=None)
        if worst is None or judged[worst]["net"] >= min_net:
            return left, judged, rule
        left.remove(worst)


def without(records: Records, stages: Sequence[str], name: str, rule: Rule) -> Run:
    """The cascade less one stage, under the same rule."""
    return play(records, [stage for stage in stages if stage != name], rule)


def flips(before: Run, after: Run) -> dict[str, int]:
    """How many answers became right and wrong from one run to the other."""
    gained = int(np.sum(after.right & ~before.right))
    lost = int(np.sum(before.right & ~after.right))
    return {"wrong_to_right": gained, "right_to_wrong": lost, "net": gained - lost}


def figures(run: Run) -> dict[str, float]:
    """Scores of a run: mcc, accuracy, reward, auc and the like, rounded."""
    return {name: round(value, 6) for name, value in classification_scores(run.label, run.p).items()}


def cost(run: Run) -> dict[str, float]:
    """Mean and 99th percentile of the milliseconds an image costs, stages asked one image at a time."""
    mean, slow = float(np.mean(run.milliseconds)), float(np.quantile(run.milliseconds, 0.99))
    return {"mean_ms": round(mean, 2), "p99_ms": round(slow, 2)}


def leaving(run: Run, confidence: float) -> Iterator[tuple[str, dict[str, Any]]]:
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


def everything_ms(records: Records, stages: Sequence[str]) -> float:
    """Mean milliseconds of asking every stage about every image."""
    return float(sum(np.mean([seen.milliseconds for seen in records.after[name]]) for name in stages))


def _log_loss(run: Run) -> float:
    p = np.clip(run.p, EDGE, 1 - EDGE)
    return float(-np.mean(np.where(run.label == 1, np.log(p), np.log(1 - p))))


def subset_runs(records: Records, stages: Sequence[str], rule: Rule) -> Mapping[tuple[str, ...], Run]:
    """Every combination of stages in their order, for the plot of accuracy against cost."""
    sizes = range(1, len(stages) + 1)
    chosen = (subset for size in sizes for subset in itertools.combinations(stages, size))
    return {subset: play(records, subset, rule) for subset in chosen}
