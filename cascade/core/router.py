"""The router: a pure function from what the stages saw to a decision.

Stages run in order, and an image leaves with the first one that is sure. A later stage is one more `StageResult` in the
list; what makes that stage sure is decided in the stage, so that this function stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cascade.release.manifest import FusionRule
from cascade.stages.base import StageResult

Label = Literal["roadwork", "clear"]
CUT = 0.5
# log-odds of 0 and 1 are infinite; a stage that says so is no surer than one in a million
EDGE = 1e-6
LAST = FusionRule()


class NoEstimateError(RuntimeError):
    """No stage had an opinion: all were skipped or abstained."""


class Decision(BaseModel):
    """The cascade's answer for one image."""

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str


def estimate(results: Sequence[StageResult], rule: FusionRule = LAST) -> float | None:
    """Give the best estimate so far; None where no stage has one.

    Without weights it is the last stage's that gave one: it was asked because those before it were unsure. With weights
    it is the logarithmic opinion pool (Genest and Zidek 1986): the weighted mean of the log-odds of the stages that
    gave one, so that a stage that was skipped leaves the others' say as it is.
    """
    opinions = [(seen.stage, seen.probability) for seen in results if seen.probability is not None]
    if not opinions:
        return None
    weights = [rule.weights.get(stage, 0.0) for stage, _ in opinions]
    if not sum(weights):
        return opinions[-1][1]
    odds = sum(weight * _logit(p) for weight, (_, p) in zip(weights, opinions, strict=True)) / sum(weights)
    return 1 / (1 + math.exp(-odds))


def decide(results: Sequence[StageResult], rule: FusionRule = LAST) -> Decision:
    """Answer with the first stage that is sure, or else with the best estimate against 0.5.

    Args:
        results: one per stage that ran or was skipped, in the order of the cascade.
        rule: how estimates are combined where nobody is sure.

    Raises:
        ValueError: no stage was asked.
        NoEstimateError: none that was asked had an opinion; says why of each.
    """
    if not results:
        raise ValueError("no stage has seen the image")
    for index, seen in enumerate(results):
        if seen.verdict != "undecided":
            return _sure(seen, seen.verdict, estimate(results[:index], rule))
    return _unsure(results, rule)


def _unsure(results: Sequence[StageResult], rule: FusionRule) -> Decision:
    best = estimate(results, rule)
    if best is None:
        reasons = "; ".join(f"{seen.stage}: {seen.skipped or 'no opinion'}" for seen in results)
        raise NoEstimateError(f"no stage could answer ({reasons})")
    asked = [seen.stage for seen in results if seen.probability is not None]
    weighed = [stage for stage in asked if rule.weights.get(stage)] or asked[-1:]
    whose = f"the {weighed[0]}'s estimate" if len(weighed) == 1 else f"the estimate of {' and '.join(weighed)}"
    missing = "".join(f"; {seen.stage} skipped: {seen.skipped}" for seen in results if seen.skipped)
    return Decision(
        probability=best,
        label="roadwork" if best > CUT else "clear",
        decided_by=weighed[-1],
        reason=f"no stage was sure; {whose} is {best:.2f}{missing}",
    )


def _sure(seen: StageResult, label: Label, before: float | None) -> Decision:
    """A verdict wins over a number: a stage may be sure by what it found, whatever the estimate was."""
    p = seen.probability if seen.probability is not None else before
    fits = p is not None and (p > CUT) == (label == "roadwork")
    probability = p if fits and p is not None else float(label == "roadwork")
    return Decision(probability=probability, label=label, decided_by=seen.stage, reason=_why(seen, probability))


def _why(seen: StageResult, probability: float) -> str:
    if isinstance(found := seen.detail.get("why"), str):
        return f"the {seen.stage} is sure: {found}"
    if seen.exits is None:
        return f"the {seen.stage} is sure: {probability:.2f}"
    if seen.verdict == "roadwork":
        return f"the {seen.stage} is sure: {probability:.2f}, roadwork from {seen.exits.high:.2f} up"
    return f"the {seen.stage} is sure: {probability:.2f}, clear from {seen.exits.low:.2f} down"


def _logit(p: float) -> float:
    inside = min(max(p, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))
