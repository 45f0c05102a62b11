"""The validation report from answers that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.config import ValidateParams, load_params
from tasks.validation.metrics import measure
from tasks.validation.predictions import ChallengePredictions
from tests.support.paths import ROOT

EXITS = {"high": 0.88, "low": 0.12}
ARRAYS = ("p", "first", "augmented", "label", "place", "level", "answerable")


def params(**changes: object) -> ValidateParams:
    return load_params(ROOT / "params.yaml").validate_.model_copy(update={"bootstrap": 100, **changes})


def answers(wrong_level: int | None = None) -> ChallengePredictions:
    """32 pictures at four levels, every second with roadworks; all answered rightly but those of one level."""
    n = 128
    label, level = np.arange(n) // 4 % 2, np.arange(n) % 4
    right = level != wrong_level
    return ChallengePredictions(
        p=np.where(right == (label == 1), 0.95, 0.05),
        # a first look that saw nothing right, at a quarter of them
        first=np.where(level == 2, np.where(label == 1, 0.3, 0.7), np.where(right == (label == 1), 0.95, 0.05)),
        augmented=level == 2,
        label=label,
        place=np.array([f"place-{i // 8}" for i in range(n)]),
        level=level,
        answerable=~((level == 3) & (label == 1)),
        slices={
            "time": np.where(np.arange(n) < 64, "noon", "night"),
            # a slice of one class, and one that is too small to be read
            "weather": np.where(label == 1, "fog", np.where(np.arange(n) < 8, "rain", "")),
            **{name: np.full(n, "") for name in ("distance", "road", "region")},
        },
    )


def test_all_right() -> None:
    found = measure(answers(), params(), EXITS, prior=None)
    assert (found["mcc"], found["accuracy"], found["reward"], found["auc"]) == (1, 1, 1, 1)
    assert (found["n"], found["places"]) == (128, 16)
    assert (found["mcc_low"], found["mcc_high"]) == (1, 1)
    assert found["floors_met"] is True
    assert found["exit"]["share"] == 1
    assert found["exit"]["risk"] == 0
    assert found["tta"] == {"share": 0.25, "mcc_of_first": 0.5}


def test_one_level_wrong() -> None:
    found = measure(answers(wrong_level=3), params(), EXITS, prior=None)
    assert [found["level"][level]["mcc"] for level in "0123"] == [1, 1, 1, -1]
    assert found["accuracy"] == 0.75
    assert found["mcc_low"] <= found["mcc"] == 0.5 <= found["mcc_high"]
    assert found["exit"]["risk"] == found["exit"]["risk_high"] == found["exit"]["risk_low"] == 0.25
    # roadworks of level 3 that nobody could see do not count
    assert found["unanswerable"] == {
        "share": 0.25,
        "level": {"0": 0, "1": 0, "2": 0, "3": 1},
        "mcc_without": 0.75,
    }


@pytest.mark.parametrize(
    ("floors", "met"),
    [
        ({"min_mcc": 0.5, "min_accuracy": 0.75}, True),
        ({"min_mcc": 0.51, "min_accuracy": 0.75}, False),
        ({"min_mcc": 0.5, "min_accuracy": 0.76}, False),
    ],
)
def test_floors(floors: dict, met: bool) -> None:
    assert measure(answers(wrong_level=3), params(**floors), EXITS, prior=None)["floors_met"] is met


def test_slices() -> None:
    found = measure(answers(), params(), EXITS, prior=None)["slice"]
    assert set(found["time"]) == {"noon", "night"}
    assert found["time"]["noon"]["n"] == 64
    assert "mcc_low" in found["time"]["night"]
    assert set(found["weather"]) == {"fog"}
    # all roadworks: set against every clear picture
    assert (found["weather"]["fog"]["n"], found["weather"]["fog"]["roadwork"]) == (128, 64)
    assert found["weather"]["fog"]["mcc"] == 1
    assert found["road"] == {}


@pytest.mark.parametrize(("least", "values"), [(4, {"fog", "rain"}), (5, {"fog"}), (64, {"fog"}), (65, set())])
def test_a_slice_of_too_few_views_is_not_reported(least: int, values: set[str]) -> None:
    assert set(measure(answers(), params(min_slice=least), EXITS, prior=None)["slice"]["weather"]) == values


def test_report_is_json_and_repeats() -> None:
    first = json.dumps(measure(answers(3), params(), EXITS, prior=None), allow_nan=False)
    assert first == json.dumps(measure(answers(3), params(), EXITS, prior=None), allow_nan=False)


def more_roadwork(given: ChallengePredictions, times: int) -> ChallengePredictions:
    """The same views, those with roadworks so many times."""
    rows = np.repeat(np.arange(len(given.p)), np.where(given.label == 1, times, 1))
    arrays = {name: getattr(given, name)[rows] for name in ARRAYS}
    return replace(given, **arrays, slices={name: values[rows] for name, values in given.slices.items()})


def figures_by_path(found: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested figures under one key each, less the counts of views."""
    named: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            named |= figures_by_path(value, f"{above}{name}.")
        elif name not in ("n", "roadwork"):
            named[f"{above}{name}"] = value
    return named


def test_at_a_prior_no_figure_depends_on_how_often_a_label_is_in_the_data() -> None:
    # some clear views of level 3 are taken for roadwork, which four fifths of roadwork would hide
    given = answers()
    alarms = (given.level == 3) & (given.label == 0) & (np.arange(128) % 3 == 0)
    given = replace(given, p=np.where(alarms, 0.95, given.p))
    often = more_roadwork(given, 4)
    assert np.mean(often.label) == 0.8
    once, now, own = (
        figures_by_path(measure(one, params(min_slice=1), EXITS, prior=prior))
        for one, prior in ((given, 0.5), (often, 0.5), (often, None))
    )
    assert now == pytest.approx(once, abs=2e-6)
    assert (now["prior"], now["constant.accuracy"], now["constant.reward"]) == (0.5, 0.5, 0.015625)
    assert own["constant.accuracy"] == pytest.approx(0.8)
    for changed in ("accuracy", "mcc", "reward", "accuracy_low"):
        assert own[changed] != now[changed], changed
    assert own["exit.risk_high"] < now["exit.risk_high"]
    assert own["level.3.accuracy"] > now["level.3.accuracy"]
