"""The router: a pure function from the results of the stages to a decision.

Stages run in order, and an image leaves with the first one that reaches a verdict. A later stage is one more
`StageResult` in the list; what its verdict rests on is decided in the stage, so that this function stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from cascade.probability import CUT, Label, label_of, log_odds, sigmoid
from cascade.release.manifest import FusionRule
from cascade.stages.base import StageResult

LAST = FusionRule()


class NoEstimateError(RuntimeError):
    """No stage gave an estimate: all were skipped or abstained."""


class Decision(BaseModel):
    """The cascade's answer for one image; `reason` is one sentence for people."""

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str


def decide(results: Sequence[StageResult], rule: FusionRule = LAST) -> Decision:
    """Answer with the first verdict, or else with the best estimate against the cut.

    Args:
        results: one per stage that ran or was skipped, in the order of the cascade.
        rule: how estimates are combined where no stage reaches a verdict.

    Raises:
        ValueError: the list is empty.
        NoEstimateError: no stage gave an estimate; says of each why not.
    """
    if not results:
        raise ValueError("no stage has run on the image")
    for index, result in enumerate(results):
        if result.verdict != "undecided":
            return _from_verdict(result, result.verdict, estimate(results[:index], rule))
    return _from_estimate(results, rule)


def estimate(results: Sequence[StageResult], rule: FusionRule = LAST) -> float | None:
    """Give the best estimate of a trace; None where no stage has one.

    Without weights it is that of the last stage that gave one, since later stages run where earlier ones are undecided.
    With weights it is the logarithmic opinion pool (Genest and Zidek 1986): the weighted mean of the log-odds of the
    stages that gave an estimate, so that a skipped stage does not change the shares of the others.
    """
    given = [(result.stage, result.probability) for result in results if result.probability is not None]
    if not given:
        return None
    weights = [rule.weights.get(stage, 0.0) for stage, _ in given]
    if not sum(weights):
        return given[-1][1]
    # shares first: the product of a tiny weight and the log-odds would lose its digits
    shares = [weight / sum(weights) for weight in weights]
    mean = sum(share * log_odds(p) for share, (_, p) in zip(shares, given, strict=True))
    return float(sigmoid(mean))


def _from_verdict(result: StageResult, label: Label, before: float | None) -> Decision:
    """The verdict is the label: a stage may reach it by what it found, whatever the estimate was."""
    p = result.probability if result.probability is not None else before
    fits = p is not None and (p > CUT) == (label == "roadwork")
    probability = p if fits and p is not None else float(label == "roadwork")
    return Decision(
        probability=probability, label=label, decided_by=result.stage, reason=_verdict_reason(result, probability)
    )


def _from_estimate(results: Sequence[StageResult], rule: FusionRule) -> Decision:
    best = estimate(results, rule)
    if best is None:
        causes = "; ".join(f"{result.stage}: {result.skipped or 'no estimate'}" for result in results)
        raise NoEstimateError(f"no stage could answer ({causes})")
    given = [result.stage for result in results if result.probability is not None]
    used = [stage for stage in given if rule.weights.get(stage)] or given[-1:]
    reason = f"no stage was sure; the best estimate is {best:.2f} from the {' and the '.join(used)}"
    return Decision(probability=best, label=label_of(best), decided_by=used[-1], reason=reason)


def _verdict_reason(result: StageResult, probability: float) -> str:
    if isinstance(summary := result.detail.get("summary"), str):
        return summary
    if result.exits is None:
        return f"{result.stage}: {probability:.2f}"
    if result.verdict == "roadwork":
        return f"{result.stage}: {probability:.2f}, at or above its exit of {result.exits.high:.2f}"
    return f"{result.stage}: {probability:.2f}, at or below its exit of {result.exits.low:.2f}"
