"""Combinations of stages from their results: exact figures on a few views made by hand."""

from __future__ import annotations

import pytest

from cascade.evaluate.scores import clopper_pearson_upper
from cascade.release.manifest import FusionRule
from tasks.selection.record import StageRecord
from tasks.selection.replay import cost, figures, flips, full_cost, leaving, replay, subset_runs, without
from tasks.selection.stage_predictions import StagePredictions
from tests.support.selection import predictions, result

LAST = FusionRule()

# the classifier decides two, is wrong on one of the rest; the vlm puts that right, and the ocr gives no estimate
GOOD = predictions(
    [1, 0, 1, 0],
    classifier=[0.95, 0.02, 0.4, 0.3],
    vlm=[0.2, 0.9, 0.8, 0.2],
    ocr=[None, None, None, None],
)
ALL = ("classifier", "vlm", "ocr")


def test_a_cascade_is_played_from_predictions() -> None:
    run = replay(GOOD, ALL, LAST)
    # the first stage with a verdict decides, whatever the vlm would give
    assert run.p.tolist() == [0.95, 0.02, 0.8, 0.2]
    assert run.decided_by.tolist() == [0, 0, -1, -1]
    # the first two cost 10 ms, the others all three stages
    assert run.milliseconds.tolist() == [10, 10, 1110, 1110]
    assert figures(run, prior=None)["mcc"] == 1
    assert cost(run)["mean_ms"] == 560
    assert full_cost(GOOD, ALL) == 1110


def test_a_stage_alone_without_an_estimate_gives_one_half() -> None:
    assert replay(GOOD, ["ocr"], LAST).p.tolist() == [0.5] * 4


def test_flips_and_the_cascade_without_a_stage() -> None:
    whole = replay(GOOD, ALL, LAST)
    assert flips(without(GOOD, ALL, "vlm", LAST), whole, prior=None) == {
        "wrong_to_right": 1,
        "right_to_wrong": 0,
        "net": 1,
        "weighted_net": 1.0,
    }
    assert flips(without(GOOD, ALL, "ocr", LAST), whole, prior=None)["net"] == 0


def test_where_images_leave_and_how_often_wrongly() -> None:
    wrong = predictions([0, 0, 1, 0], classifier=[0.95, 0.02, 0.4, 0.3], vlm=[0.5, 0.5, 0.95, 0.5])
    left = dict(leaving(replay(wrong, ("classifier", "vlm"), LAST), 0.95, prior=None))
    assert (left["classifier"]["share"], left["classifier"]["errors"], left["classifier"]["risk"]) == (0.5, 1, 0.5)
    # one error in two: 1 - sqrt(0.05) by Clopper and Pearson
    assert left["classifier"]["risk_bound"] == pytest.approx(0.974679, abs=1e-5)
    assert (left["vlm"]["n"], left["vlm"]["risk"]) == (1, 0)


def test_no_image_leaves_a_stage_without_verdicts() -> None:
    left = dict(leaving(replay(GOOD, ALL, LAST), 0.95, prior=None))
    assert (left["ocr"]["n"], left["ocr"]["risk"], left["ocr"]["risk_bound"]) == (0, None, 1.0)


def test_views_that_a_slow_stage_did_not_run_on_are_left_out() -> None:
    vlm = (result("vlm", 0.8, 100), None, result("vlm", 0.8, 100), None)
    partly = StagePredictions(GOOD.label, GOOD.place, {**GOOD.stages, "vlm": StageRecord(vlm, vlm)})
    # the classifier decides the second view, so that the vlm is not missed there; the fourth it does not
    whole = replay(partly, ("classifier", "vlm"), LAST)
    assert whole.views.tolist() == [0, 1, 2]
    assert whole.label.tolist() == [1, 0, 1]
    assert replay(partly, ("vlm",), LAST).views.tolist() == [0, 2]
    # both know views 0 and 2, and the first of them is right either way
    assert flips(replay(partly, ("vlm",), LAST), whole, prior=None) == {
        "wrong_to_right": 0,
        "right_to_wrong": 0,
        "net": 0,
        "weighted_net": 0.0,
    }
    assert full_cost(partly, ("classifier", "vlm")) == 110


def test_without_the_classifier_there_is_no_prior() -> None:
    first = (result("classifier", 0.3, 1),)
    detectors = StageRecord((result("detectors", 0.3, 1, "clear"),), (result("detectors", 0.6, 1, "undecided"),))
    given = StagePredictions((1,), ("place",), {"classifier": StageRecord(first, first), "detectors": detectors})
    assert replay(given, ("classifier", "detectors"), LAST).p.tolist() == [0.3]
    assert replay(given, ("detectors",), LAST).p.tolist() == [0.6]


def test_every_combination_is_replayed() -> None:
    runs = subset_runs(GOOD, ALL, LAST)
    assert len(runs) == 7
    assert runs["classifier", "vlm"].stages == ("classifier", "vlm")


def test_figures_and_exits_are_for_the_prior() -> None:
    # the classifier lets one of two clear streets leave as roadwork, and all roadworks rightly
    once, often = (
        replay(
            predictions([0, 0] + [1, 1] * times, classifier=[0.95, 0.05] + [0.95, 0.95] * times), ["classifier"], LAST
        )
        for times in (1, 4)
    )
    found = figures(often, prior=0.5)
    assert (found["accuracy"], figures(often, prior=None)["accuracy"]) == (0.75, 0.9)
    assert {**found, "n": 4.0} == figures(once, prior=0.5)
    left, plain, own = (
        dict(leaving(run, 0.95, prior=prior))["classifier"] for run, prior in ((often, 0.5), (once, 0.5), (often, None))
    )
    assert (left["risk"], plain["risk"], own["risk"]) == (0.25, 0.25, 0.1)
    assert (left["errors"], left["n"], left["share"]) == (1, 10, 1.0)
    # a wrong clear street weighs more than the right answers, most of which are roadworks
    assert own["risk_bound"] == pytest.approx(clopper_pearson_upper(1, 10, 0.95), abs=1e-6)
    assert left["risk_bound"] == pytest.approx(clopper_pearson_upper(1, 10, 0.95, 2.5 / (7.5 / 9)), abs=1e-6)
