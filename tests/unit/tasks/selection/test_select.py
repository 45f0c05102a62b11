"""Which stages are switched on, and how they are combined: a few views made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.config import SelectStagesParams
from tasks.selection.select import fit_rule, select
from tasks.selection.stage_predictions import StagePredictions
from tests.support.selection import predictions


def params(**changes: Any) -> SelectStagesParams:
    given = {"views": 1, "images": 8, "sure_images": 8, "min_net": 0, "min_gain": 0.0, "confidence": 0.0}
    return SelectStagesParams.model_validate({**given, **changes})


# the classifier decides two, is wrong on one of the rest; the vlm puts that right, and the ocr gives no estimate
GOOD = predictions(
    [1, 0, 1, 0],
    classifier=[0.95, 0.02, 0.4, 0.3],
    vlm=[0.2, 0.9, 0.8, 0.2],
    ocr=[None, None, None, None],
)
BAD_VLM = predictions([1, 0, 1, 0], classifier=[0.95, 0.02, 0.7, 0.3], vlm=[0.2, 0.9, 0.05, 0.95])


@pytest.mark.parametrize(
    ("given", "min_net", "min_gain", "on"),
    [
        # a stage that helps stays, one without an estimate lowers no loss
        (GOOD, 0, 0.0, ["classifier", "vlm"]),
        # one right answer is not enough where two are wanted, nor is the gain where more is
        (GOOD, 2, 0.0, ["classifier"]),
        (GOOD, 0, 9.9, ["classifier"]),
        # one that spoils answers goes, and the classifier stays in any case
        (BAD_VLM, 0, 0.0, ["classifier"]),
        (BAD_VLM, 99, 0.0, ["classifier"]),
        # surer without a flip: no answer changes, and the loss is lower
        (predictions([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15]), 0, 0.0, ["classifier", "vlm"]),
        (predictions([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15]), 1, 0.0, ["classifier"]),
        # the second of two that give the same adds nothing
        (
            predictions([1, 0], classifier=[0.4, 0.4], detectors=[0.89, 0.11], vlm=[0.89, 0.11]),
            0,
            0.0,
            ["classifier", "detectors"],
        ),
    ],
)
def test_stages_that_add_nothing_are_switched_off(
    given: StagePredictions, min_net: int, min_gain: float, on: list[str]
) -> None:
    selected = select(given, params(min_net=min_net, min_gain=min_gain), prior=None)
    assert selected.on == on
    assert set(selected.added) == set(given.stages) - {"classifier"}


@pytest.mark.parametrize(
    ("vlm", "confidence", "on"),
    [
        # a little surer everywhere: no place makes the gain
        ([0.7, 0.3] * 10, 0.95, ["classifier", "vlm"]),
        # much surer of two pictures, a little less of all others: chance of two places ...
        ([0.89, 0.11] + [0.59, 0.41] * 9, 0.95, ["classifier"]),
        # ... which the mean alone would take for a gain
        ([0.89, 0.11] + [0.59, 0.41] * 9, 0.0, ["classifier", "vlm"]),
    ],
)
def test_a_gain_must_not_rest_on_a_few_places(vlm: list[float], confidence: float, on: list[str]) -> None:
    given = predictions([1, 0] * 10, classifier=[0.6, 0.4] * 10, vlm=vlm)
    selected = select(given, params(confidence=confidence), prior=None)
    assert selected.on == on
    before, after = selected.added["vlm"]["log_loss"]
    assert before > after
    assert (selected.added["vlm"]["gain_low"] > 0) == (on != ["classifier"])


def test_one_place_shows_no_gain() -> None:
    given = predictions([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15])
    selected = select(replace(given, place=("here", "here")), params(confidence=0.95), prior=None)
    assert (selected.on, selected.added["vlm"]["gain_low"]) == (["classifier"], 0.0)


def test_the_rule_weighs_the_better_stage() -> None:
    noisy = predictions(
        [1, 0, 1, 0, 1, 0],
        classifier=[0.7, 0.3, 0.8, 0.2, 0.7, 0.3],
        vlm=[0.4, 0.6, 0.55, 0.45, 0.45, 0.5],
    )
    assert fit_rule(noisy, ["classifier", "vlm"], params(), prior=None).weights == {"classifier": 1.0}
    # a last stage that is right throughout needs no weights
    sharp = predictions([1, 0], classifier=[0.45, 0.55], vlm=[0.89, 0.11])
    assert fit_rule(sharp, ["classifier", "vlm"], params(), prior=None).weights == {}


def skewed(times: int) -> StagePredictions:
    """The vlm puts one clear street right and spoils one roadwork; the roadworks are there so many times."""
    label = [0, 0, 1, 1]
    columns = {"classifier": [0.6, 0.2, 0.55, 0.8], "vlm": [0.2, 0.2, 0.45, 0.8]}
    rows = [row for row, one in enumerate(label) for _ in range(times if one else 1)]
    given = predictions(
        [label[row] for row in rows], **{n: [column[row] for row in rows] for n, column in columns.items()}
    )
    return replace(given, place=tuple(f"place {row}" for row in rows))


def test_stages_are_selected_for_the_prior() -> None:
    once, often, own = (
        select(skewed(times), params(rule_min_gain=9.0, confidence=0.4), prior=prior)
        for times, prior in ((1, 0.5), (5, 0.5), (5, None))
    )
    # an answer put right and one spoilt, but five of these in the data
    assert (often.added["vlm"]["net"], often.added["vlm"]["weighted_net"]) == (-4, 0.0)
    assert often.on == once.on == ["classifier", "vlm"]
    for name in ("log_loss", "gain_low"):
        assert often.added["vlm"][name] == pytest.approx(once.added["vlm"][name], abs=1e-4)
    assert own.on == ["classifier"]
