"""The router as a table, and what holds for any trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.release import Exits
from cascade.router import Outcome, decide, judge

EXITS = Exits(high=0.88, low=0.12)


def seen(stage: str, probability: float) -> Outcome:
    return Outcome(
        stage=stage, probability=probability, exits=EXITS, outcome=judge(probability, EXITS), milliseconds=1.0
    )


def test_no_stage_no_decision() -> None:
    with pytest.raises(ValueError, match="no stage"):
        decide([])


@pytest.mark.parametrize(
    ("probabilities", "label", "decided_by", "probability"),
    [
        ([0.97], "roadwork", "stage 0", 0.97),
        ([0.03], "clear", "stage 0", 0.03),
        # nobody sure: the last estimate, 0.5 rounding to clear as the validators round
        ([0.51], "roadwork", "stage 0", 0.51),
        ([0.5], "clear", "stage 0", 0.5),
        ([0.7, 0.4], "clear", "stage 1", 0.4),
        # the first sure stage decides, whatever comes after
        ([0.7, 0.05, 0.99], "clear", "stage 1", 0.05),
        ([0.99, 0.01], "roadwork", "stage 0", 0.99),
    ],
)
def test_decision_table(probabilities: list[float], label: str, decided_by: str, probability: float) -> None:
    decision = decide([seen(f"stage {index}", p) for index, p in enumerate(probabilities)])
    assert (decision.label, decision.decided_by, decision.probability) == (label, decided_by, probability)
    assert decided_by in decision.reason


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.0, "clear"),
        # both exits are inclusive
        (0.12, "clear"),
        (0.1201, "undecided"),
        (0.5, "undecided"),
        (0.8799, "undecided"),
        (0.88, "roadwork"),
        (1.0, "roadwork"),
    ],
)
def test_exits_are_inclusive(probability: float, verdict: str) -> None:
    assert judge(probability, EXITS) == verdict


@pytest.mark.parametrize("exits", [{"high": 0.4, "low": 0.1}, {"high": 0.9, "low": 0.6}, {"high": 1.1, "low": 0.1}])
def test_exits_on_the_wrong_side_are_refused(exits: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Exits(**exits)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_the_label_agrees_with_the_probability(probabilities: list[float]) -> None:
    decision = decide([seen("classifier", p) for p in probabilities])
    assert (decision.label == "roadwork") == (decision.probability > 0.5)
    assert decision.probability in probabilities
