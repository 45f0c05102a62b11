"""Floors of the gate: a figure that is low, missing or not a number never passes."""

from __future__ import annotations

import pytest

from tasks.config import load_params
from tasks.release.gate import GateError, check_floors
from tasks.release.gate.floors import first_faults
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml")
FLOORS = PARAMS.validate_.model_copy(update={"min_mcc": 0.5, "min_accuracy": 0.75})


@pytest.mark.parametrize(
    ("report", "named"),
    [
        ({"mcc": 0.49, "accuracy": 0.9}, ["mcc"]),
        ({"mcc": 0.9, "accuracy": 0.74}, ["accuracy"]),
        ({"mcc": 0.1, "accuracy": 0.1}, ["mcc", "accuracy"]),
        ({"accuracy": 0.9}, ["mcc"]),  # missing
        ({"mcc": float("nan"), "accuracy": 0.9}, ["mcc"]),  # no number
        ({"mcc": "0.9", "accuracy": 0.9}, ["mcc"]),  # text
        ({}, ["mcc", "accuracy"]),
    ],
)
def test_refused(report: dict[str, object], named: list[str]) -> None:
    with pytest.raises(GateError) as caught:
        check_floors(report, FLOORS)
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize("report", [{"mcc": 0.5, "accuracy": 0.75}, {"mcc": 1, "accuracy": 1.0, "auc": None}])
def test_passed(report: dict[str, object]) -> None:
    check_floors(report, FLOORS)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        # a report of before, without recall and slices
        ({}, []),
        ({"recall": 0.69}, ["floor"]),
        # a slice that is low, one of too few views, and a level
        ({"slice": {"time": {"night": {"n": 40.0, "accuracy": 0.5}}}}, ["slice"]),
        ({"slice": {"time": {"night": {"n": 39.0, "accuracy": 0.5}}}}, []),
        ({"level": {"3": {"n": 200.0, "accuracy": 0.59}, "0": {"n": 200.0, "accuracy": 0.9}}}, ["slice"]),
        # a slice without the figure
        ({"slice": {"time": {"night": {"n": 40.0}}}}, ["slice"]),
    ],
)
def test_a_first_release_is_held_to_all_floors(more: dict[str, object], expected: list[str]) -> None:
    report = {"mcc": 0.9, "accuracy": 0.9, **more}
    assert [check for check, _ in first_faults(report, PARAMS)] == expected
