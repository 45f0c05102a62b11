"""The router: a pure function from what the stages saw to a decision.

Stages are asked in order, and an image leaves with the first one that is sure. A later stage is one more `Outcome` in
the list; what makes that stage sure is its own affair, so that this function stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cascade.release import Exits

Label = Literal["roadwork", "clear"]
Verdict = Literal["roadwork", "clear", "undecided"]
CUT = 0.5


class Outcome(BaseModel):
    """What one stage saw in one image.

    `milliseconds` is the wall time of the batch that the image went through the stage in.
    """

    model_config = ConfigDict(frozen=True)
    stage: str
    probability: float = Field(ge=0, le=1)
    exits: Exits
    outcome: Verdict
    milliseconds: float = Field(ge=0)


class Decision(BaseModel):
    """The cascade's answer for one image."""

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str


def judge(probability: float, exits: Exits) -> Verdict:
    """Say whether a probability is sure enough to leave the cascade; both exits are inclusive."""
    if probability <= exits.low:
        return "clear"
    return "roadwork" if probability >= exits.high else "undecided"


def decide(outcomes: Sequence[Outcome]) -> Decision:
    """Answer with the first stage that is sure, or else with the last one's estimate against 0.5.

    Args:
        outcomes: one per stage that ran, in the order of the cascade.

    Raises:
        ValueError: no stage ran.
    """
    if not outcomes:
        raise ValueError("no stage has seen the image")
    for seen in outcomes:
        if seen.outcome != "undecided":
            return _answer(seen, seen.outcome, _sure(seen))
    last = outcomes[-1]
    label: Label = "roadwork" if last.probability > CUT else "clear"
    return _answer(last, label, f"no stage was sure; the {last.stage}'s estimate is {last.probability:.2f}")


def _answer(seen: Outcome, label: Label, reason: str) -> Decision:
    return Decision(probability=seen.probability, label=label, decided_by=seen.stage, reason=reason)


def _sure(seen: Outcome) -> str:
    if seen.outcome == "roadwork":
        return f"the {seen.stage} is sure: {seen.probability:.2f}, roadwork from {seen.exits.high:.2f} up"
    return f"the {seen.stage} is sure: {seen.probability:.2f}, clear from {seen.exits.low:.2f} down"
