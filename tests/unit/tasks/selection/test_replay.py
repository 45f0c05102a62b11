"""Combinations of stages from recorded outcomes: exact figures on a few images made by hand."""

from __future__ import annotations

import pytest

from cascade.probability import Verdict
from cascade.release.manifest import Exits, FusionRule
from cascade.stages.base import StageResult, verdict_of
from tasks.selection.replay import (
    cost,
    everything_ms,
    figures,
    fit_rule,
    flips,
    leaving,
    replay,
    select,
    subset_runs,
    without,
)
from tasks.selection.stage_predictions import StagePredictions

EXITS = Exits(high=0.9, low=0.1)
LAST = FusionRule()


def said(stage: str, p: float | None, milliseconds: float, verdict: Verdict | None = None) -> StageResult:
    verdict = verdict or ("undecided" if p is None else verdict_of(p, EXITS))
    return StageResult(stage=stage, probability=p, exits=EXITS, verdict=verdict, milliseconds=milliseconds)


def records(label: list[int], **stages: list[float | None]) -> StagePredictions:
    """Stages by name, a probability an image; stage 1 costs 10 ms, the next 100 ms, and so on."""
    results = {
        name: tuple(said(name, p, 10.0 ** (index + 1)) for p in column)
        for index, (name, column) in enumerate(stages.items())
    }
    return StagePredictions(tuple(label), tuple(f"place {index}" for index in range(len(label))), results, results)


# the classifier is sure of two, wrong on one of the rest; the VLM puts that right, and text has no opinion
GOOD = records(
    [1, 0, 1, 0],
    classifier=[0.95, 0.02, 0.4, 0.3],
    vlm=[0.2, 0.9, 0.8, 0.2],
    ocr=[None, None, None, None],
)
ALL = ("classifier", "vlm", "ocr")


def test_a_cascade_is_played_from_records() -> None:
    run = replay(GOOD, ALL, LAST)
    # the first sure stage decides, whatever the VLM would have said
    assert run.p.tolist() == [0.95, 0.02, 0.8, 0.2]
    assert run.by.tolist() == [0, 0, -1, -1]
    # who left early cost 10 ms, the others all three stages
    assert run.milliseconds.tolist() == [10, 10, 1110, 1110]
    assert figures(run)["mcc"] == 1
    assert cost(run)["mean_ms"] == 560
    assert everything_ms(GOOD, ALL) == 1110


def test_a_stage_alone_without_opinion_says_neither() -> None:
    assert replay(GOOD, ["ocr"], LAST).p.tolist() == [0.5] * 4


def test_flips_and_the_cascade_without_a_stage() -> None:
    whole = replay(GOOD, ALL, LAST)
    assert flips(without(GOOD, ALL, "vlm", LAST), whole) == {"wrong_to_right": 1, "right_to_wrong": 0, "net": 1}
    assert flips(without(GOOD, ALL, "ocr", LAST), whole)["net"] == 0


def test_who_leaves_where_and_how_often_wrongly() -> None:
    wrong = records([0, 0, 1, 0], classifier=[0.95, 0.02, 0.4, 0.3], vlm=[0.5, 0.5, 0.95, 0.5])
    left = dict(leaving(replay(wrong, ("classifier", "vlm"), LAST), 0.95))
    assert (left["classifier"]["share"], left["classifier"]["errors"], left["classifier"]["risk"]) == (0.5, 1, 0.5)
    # one error in two: 1 - sqrt(0.05) by Clopper and Pearson
    assert left["classifier"]["risk_bound"] == pytest.approx(0.974679, abs=1e-5)
    assert (left["vlm"]["n"], left["vlm"]["risk"]) == (1, 0)


def test_nobody_leaves_a_stage_that_is_never_sure() -> None:
    left = dict(leaving(replay(GOOD, ALL, LAST), 0.95))
    assert (left["ocr"]["n"], left["ocr"]["risk"], left["ocr"]["risk_bound"]) == (0, None, 1.0)


BAD_VLM = records([1, 0, 1, 0], classifier=[0.95, 0.02, 0.7, 0.3], vlm=[0.2, 0.9, 0.05, 0.95])


@pytest.mark.parametrize(
    ("given", "min_net", "min_gain", "kept"),
    [
        # a stage that helps stays, one without an opinion lowers no loss
        (GOOD, 0, 0.0, ["classifier", "vlm"]),
        # one right answer is not enough where two are asked for, nor is the gain where more is
        (GOOD, 2, 0.0, ["classifier"]),
        (GOOD, 0, 9.9, ["classifier"]),
        # one that spoils answers goes, and stage 1 stays whatever happens
        (BAD_VLM, 0, 0.0, ["classifier"]),
        (BAD_VLM, 99, 0.0, ["classifier"]),
        # surer without a flip: no answer changes, and the loss says that it helps
        (records([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15]), 0, 0.0, ["classifier", "vlm"]),
        (records([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15]), 1, 0.0, ["classifier"]),
        # the second of two that say the same adds nothing
        (
            records([1, 0], classifier=[0.4, 0.4], detectors=[0.89, 0.11], vlm=[0.89, 0.11]),
            0,
            0.0,
            ["classifier", "detectors"],
        ),
    ],
)
def test_stages_that_add_nothing_are_left_out(
    given: StagePredictions, min_net: int, min_gain: float, kept: list[str]
) -> None:
    left, judged, _ = select(given, list(given.after), min_net, min_gain)
    assert left == kept
    assert set(judged) == set(given.after) - {"classifier"}


@pytest.mark.parametrize(
    ("vlm", "confidence", "kept"),
    [
        # a little surer everywhere: no place makes the gain
        ([0.7, 0.3] * 10, 0.95, ["classifier", "vlm"]),
        # much surer of two pictures, a little less of all others: luck of two places ...
        ([0.89, 0.11] + [0.59, 0.41] * 9, 0.95, ["classifier"]),
        # ... which the mean alone would take for a gain
        ([0.89, 0.11] + [0.59, 0.41] * 9, 0.0, ["classifier", "vlm"]),
    ],
)
def test_a_gain_must_not_hang_on_a_few_places(vlm: list[float], confidence: float, kept: list[str]) -> None:
    given = records([1, 0] * 10, classifier=[0.6, 0.4] * 10, vlm=vlm)
    left, judged, _ = select(given, ["classifier", "vlm"], confidence=confidence)
    assert left == kept
    before, after = judged["vlm"]["log_loss"]
    assert before > after
    assert (judged["vlm"]["gain_low"] > 0) == (kept != ["classifier"])


def test_one_place_proves_no_gain() -> None:
    given = records([1, 0], classifier=[0.6, 0.4], vlm=[0.85, 0.15])
    here = StagePredictions(given.label, ("here", "here"), given.after, given.alone)
    left, judged, _ = select(here, ["classifier", "vlm"], confidence=0.95)
    assert (left, judged["vlm"]["gain_low"]) == (["classifier"], 0.0)


def test_shots_that_a_slow_stage_was_not_asked_about_are_left_out() -> None:
    vlm = (said("vlm", 0.8, 100), None, said("vlm", 0.8, 100), None)
    partly = StagePredictions(GOOD.label, GOOD.place, {**GOOD.after, "vlm": vlm}, {**GOOD.alone, "vlm": vlm})
    # the classifier is sure of the second shot, so that the VLM is not missed there; of the fourth it is not
    whole = replay(partly, ("classifier", "vlm"), LAST)
    assert whole.shots.tolist() == [0, 1, 2]
    assert whole.label.tolist() == [1, 0, 1]
    assert replay(partly, ("vlm",), LAST).shots.tolist() == [0, 2]
    # both know shots 0 and 2, and the first of them is right either way
    assert flips(replay(partly, ("vlm",), LAST), whole) == {"wrong_to_right": 0, "right_to_wrong": 0, "net": 0}
    assert everything_ms(partly, ("classifier", "vlm")) == 110


def test_the_rule_leans_on_the_better_stage() -> None:
    noisy = records(
        [1, 0, 1, 0, 1, 0],
        classifier=[0.7, 0.3, 0.8, 0.2, 0.7, 0.3],
        vlm=[0.4, 0.6, 0.55, 0.45, 0.45, 0.5],
    )
    assert fit_rule(noisy, ["classifier", "vlm"]).weights == {"classifier": 1.0}
    # a last stage that knows it all needs no weights
    sharp = records([1, 0], classifier=[0.45, 0.55], vlm=[0.89, 0.11])
    assert fit_rule(sharp, ["classifier", "vlm"]).weights == {}


def test_without_stage_1_no_prior_was_given() -> None:
    after = {"classifier": (said("classifier", 0.3, 1),), "detectors": (said("detectors", 0.3, 1, "clear"),)}
    alone = {**after, "detectors": (said("detectors", 0.6, 1, "undecided"),)}
    given = StagePredictions((1,), ("place",), after, alone)
    assert replay(given, ("classifier", "detectors"), LAST).p.tolist() == [0.3]
    assert replay(given, ("detectors",), LAST).p.tolist() == [0.6]


def test_every_combination_is_played() -> None:
    runs = subset_runs(GOOD, ALL, LAST)
    assert len(runs) == 7
    assert runs["classifier", "vlm"].stages == ("classifier", "vlm")
