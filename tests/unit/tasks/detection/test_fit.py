"""The rule's thresholds and the probability, from what two made-up detectors saw."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.detection.agreement import agree
from cascade.detection.boxes import Box
from tasks.config import load_params
from tasks.detection.fit import fit_estimate, fit_rule, measure, probabilities, rule_report
from tasks.detection.inference import DetectedView
from tasks.detection.precision import GroundTruth
from tests.support.paths import ROOT

PARAMS = load_params(ROOT / "params.yaml").detect.agreement.model_copy(
    update={"matches": 3, "iou": 0.5, "clear_below": 0.3, "min_precision": 0.98}
)


def views(count: int = 60, *, false_alarms: float = 0.0, alarm_score: float = 0.8) -> list[DetectedView]:
    """Every second view has four cones; detectors find three or four of them, and both can be fooled by clear ones."""
    random = np.random.default_rng(2)
    made = []
    for number in range(count):
        label = number % 2
        corners = np.array([[20.0 * k, 50, 20 * k + 10, 70] for k in range(4)])[: 4 * label]
        boxes = []
        for _ in range(2):
            mine = [
                Box("cone", float(random.uniform(0.7, 0.95)), tuple(box + random.normal(0, 0.3, 4))) for box in corners
            ]
            boxes.append(mine[: int(random.integers(3, 5))])
        if not label and random.random() < false_alarms:
            fooled = [Box("cone", alarm_score, (20.0 * k, 90, 20.0 * k + 10, 110)) for k in range(3)]
            boxes = [[*mine, *fooled] for mine in boxes]
        truth = GroundTruth(corners.reshape(-1, 4), np.zeros(len(corners), dtype=np.int64))
        made.append(DetectedView(str(number), f"place-{number // 4}", label, number % 4, truth, (boxes[0], boxes[1])))
    return made


def test_good_detectors_are_told_apart_without_mistake() -> None:
    found = views()
    rule = fit_rule(found, PARAMS, prior=None)
    estimate = fit_estimate(found, rule, PARAMS, seed=1, prior=None)
    p = probabilities(found, rule, estimate)
    assert [value > 0.5 for value in p] == [bool(item.label) for item in found]
    report = rule_report(found, rule, None)
    assert (report["roadwork_right"], report["empty_right"], report["empty_share"]) == (1.0, 1.0, 0.5)


def test_scores_are_raised_until_the_rule_is_right_often_enough() -> None:
    found = views(false_alarms=0.5)
    loose = fit_rule(found, PARAMS.model_copy(update={"min_precision": 0.5}), prior=None)
    strict = fit_rule(found, PARAMS, prior=None)
    assert strict.seen > loose.seen
    assert strict.suspected == loose.suspected
    wrong = [item for item in found if not item.label and agree(*item.boxes, strict, None) == "roadwork"]
    assert wrong == []


def test_a_precision_that_cannot_be_reached_leaves_the_strictest() -> None:
    # the false alarms are surer than any hit
    found = views(false_alarms=1.0, alarm_score=0.99)
    rule = fit_rule(found, PARAMS, prior=None)
    assert max(rule.seen) <= 0.95
    assert rule_report(found, rule, None)["roadwork_right"] < 0.98


def test_measure_reports_what_the_gate_and_people_need() -> None:
    found = views()
    rule = fit_rule(found, PARAMS, prior=None)
    report = measure(found, ("yolo", "detr"), rule, fit_estimate(found, rule, PARAMS, seed=1, prior=None), prior=None)
    assert report["views"] == 60
    assert report["alone"]["mcc"] == 1.0
    assert set(report["yolo"]) == {"cone", "all", "map50_by_level"}
    assert report["detr"]["cone"]["map50"] > 0.7
    # roadworks were shown at levels 1 and 3 only
    assert report["yolo"]["map50_by_level"]["0"] is None
    assert report["yolo"]["map50_by_level"]["1"] == pytest.approx(report["yolo"]["all"]["map50"], abs=0.2)


def test_the_same_views_give_the_same_numbers() -> None:
    found = views(false_alarms=0.3)
    rule = fit_rule(found, PARAMS, prior=None)
    assert fit_estimate(found, rule, PARAMS, seed=1, prior=None) == fit_estimate(
        found, rule, PARAMS, seed=1, prior=None
    )


def test_the_search_is_a_parameter() -> None:
    found = views(false_alarms=1.0, alarm_score=0.99)
    rule = fit_rule(found, PARAMS.model_copy(update={"max_score": 0.8, "suspicion": 0.25}), prior=None)
    assert max(rule.seen) == 0.8
    first = fit_rule(found, PARAMS.model_copy(update={"max_factor": 1.0}), prior=None)
    assert rule.suspected[0] == pytest.approx(first.seen[0] / 4, abs=1e-4)


def test_rule_and_probability_are_for_the_prior() -> None:
    """Three fifths of the clear views raise an alarm, which many views of roadworks beside them would hide."""
    found = views(false_alarms=0.6, alarm_score=0.8)
    often = [item for item in found for _ in range(8 if item.label else 1)]
    params = PARAMS.model_copy(update={"min_precision": 0.9})
    once, same, own = (
        fit_rule(given, params, prior=prior) for given, prior in ((found, 0.5), (often, 0.5), (often, None))
    )
    # the search starts from the best F1 of boxes, which is that of the objects as they are
    assert same.seen == pytest.approx(once.seen, abs=0.05)
    assert rule_report(often, same, 0.5)["roadwork_right"] >= 0.9
    assert rule_report(often, own, 0.5)["roadwork_right"] < 0.9 <= rule_report(often, own, None)["roadwork_right"]
    # what the rule decides, and the cut, do not depend on how often roadworks are seen
    counted = rule_report(often, own, 0.5)
    assert {**counted, "n": 60} == rule_report(found, own, 0.5)
    # the penalty is against the sum of all views' losses, so that it is less for more of them
    alike = params.model_copy(update={"inverse_l2": params.inverse_l2 * len(found) / len(often)})
    p, q, unweighted = (
        probabilities(found, own, fit_estimate(given, own, chosen, seed=1, prior=prior))
        for given, chosen, prior in ((found, params, 0.5), (often, alike, 0.5), (often, alike, None))
    )
    assert p == pytest.approx(q, abs=0.002)
    assert np.abs(p - unweighted).max() > 0.1
