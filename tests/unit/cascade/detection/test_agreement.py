"""The agreement rule: a table of cases, and what must hold for any boxes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.detection.agreement import (
    EVIDENCE,
    AgreementRule,
    UnusableDetector,
    agree,
    check_classes,
    evidence,
    match,
)
from cascade.detection.boxes import CLASSES, Box
from cascade.probability import Verdict

RULE = AgreementRule(matches=3, iou=0.5, clear_below=0.3, seen=(0.5, 0.4), suspected=(0.25, 0.2))
COCO = ["person", "bicycle", "car", "traffic light", "stop sign"]


def cone(x: float, score: float = 0.9, *, category: str = "cone", width: float = 10) -> Box:
    return Box(category, score, (x, 0, x + width, 20))


ROW = [cone(0), cone(20), cone(40)]


@pytest.mark.parametrize(
    ("first", "second", "prior", "expected"),
    [
        # three in the same places
        (ROW, ROW, None, "roadwork"),
        # whatever stage 1 thinks
        (ROW, ROW, 0.01, "roadwork"),
        # a little off still overlaps by more than half
        (ROW, [cone(2), cone(22), cone(42)], 0.5, "roadwork"),
        # too far off
        (ROW, [cone(6), cone(26), cone(46)], 0.5, "undecided"),
        # two are not three
        (ROW, ROW[:2], 0.5, "undecided"),
        # the same places, another class
        (ROW, [cone(0), cone(20), cone(40, category="drum")], 0.5, "undecided"),
        # three of the first on one of the second are one object
        ([cone(0), cone(1), cone(2)], [cone(1)], 0.5, "undecided"),
        # one detector is not sure of the third: 0.45 is enough for the second, not for the first
        (ROW, [*ROW[:2], cone(40, 0.45)], 0.5, "roadwork"),
        ([*ROW[:2], cone(40, 0.45)], ROW, 0.5, "undecided"),
        # neither sees anything, and stage 1 leans to clear
        ([], [], 0.2, "clear"),
        # what is not even suspicious counts as nothing
        ([cone(0, 0.2)], [cone(50, 0.15)], 0.2, "clear"),
        # one of them has a suspicion
        ([cone(0, 0.3)], [], 0.2, "undecided"),
        ([], [cone(0, 0.2)], 0.2, "undecided"),
        # nothing seen, but stage 1 is unsure, at its limit, or there is none
        ([], [], 0.5, "undecided"),
        ([], [], 0.3, "undecided"),
        ([], [], None, "undecided"),
        # one sees a whole row and the other none: that is what the rule is there for
        (ROW, [], 0.1, "undecided"),
    ],
)
def test_agree(first: list[Box], second: list[Box], prior: float | None, expected: Verdict) -> None:
    assert agree(first, second, RULE, prior) == expected


def test_match_prefers_more_pairs_to_one_better_pair() -> None:
    # the wide box would go best with the first of the second list, and then the narrow one would be left alone
    first, second = [cone(0, width=12), cone(0, width=7)], [cone(0, width=11), cone(0, width=20)]
    assert {(pair.first, pair.second) for pair in match(first, second, 0.5)} == {(0, 1), (1, 0)}


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        # a detector as downloaded
        (COCO, "unmodified COCO detector"),
        # other classes
        (["cat", "dog"], "its classes are cat, dog"),
        # ours in another order: the columns would be read wrongly
        (list(reversed(CLASSES)), "in this order"),
        # one is missing
        (CLASSES[:-1], "in this order"),
        # none
        ([], "none"),
    ],
)
def test_detectors_of_other_classes_are_refused(classes: list[str], words: str) -> None:
    with pytest.raises(UnusableDetector, match=words) as caught:
        check_classes(classes, "models/detectors/yolo")
    assert "models/detectors/yolo" in str(caught.value)
    assert "dvc repro detect" in str(caught.value)


def test_our_classes_pass() -> None:
    check_classes(list(CLASSES), "yolo")


boxes = st.lists(
    st.builds(
        lambda category, score, x, y, w, h: Box(category, score, (x, y, x + w, y + h)),
        st.sampled_from(CLASSES[:3]),
        st.floats(0, 1),
        *[st.floats(0, 60)] * 2,
        *[st.floats(1, 40)] * 2,
    ),
    max_size=7,
)


@given(boxes, boxes)
def test_matches_are_one_to_one_of_one_class_and_overlap(first: list[Box], second: list[Box]) -> None:
    pairs = match(first, second, 0.3)
    assert len({pair.first for pair in pairs}) == len({pair.second for pair in pairs}) == len(pairs)
    assert all(first[pair.first].category == second[pair.second].category for pair in pairs)
    assert all(pair.overlap >= 0.3 for pair in pairs)


@given(boxes, boxes)
def test_the_order_of_the_detectors_does_not_matter(first: list[Box], second: list[Box]) -> None:
    there, back = match(first, second, 0.3), match(second, first, 0.3)
    assert len(there) == len(back)
    assert sum(pair.overlap for pair in there) == pytest.approx(sum(pair.overlap for pair in back))


@given(boxes, boxes, boxes)
def test_further_boxes_never_make_fewer_matches(first: list[Box], second: list[Box], more: list[Box]) -> None:
    assert len(match(first + more, second, 0.3)) >= len(match(first, second, 0.3))


@given(boxes, boxes, boxes, st.floats(0, 1))
@settings(max_examples=50)
def test_further_boxes_never_lead_away_from_roadwork(
    first: list[Box], second: list[Box], more: list[Box], prior: float
) -> None:
    order = ["clear", "undecided", "roadwork"]
    before, after = agree(first, second, RULE, prior), agree(first + more, second, RULE, prior)
    assert order.index(after) >= order.index(before)


@given(boxes, boxes)
def test_evidence_is_finite_and_of_fixed_length(first: list[Box], second: list[Box]) -> None:
    found = evidence(first, second, RULE)
    assert found.shape == (len(EVIDENCE),)
    assert ((found >= 0) & (found <= 7)).all()


def test_evidence_of_a_pair_is_as_good_as_its_doubtful_half() -> None:
    both, doubtful = evidence([cone(0, 0.9)], [cone(0, 0.9)], RULE), evidence([cone(0, 0.9)], [cone(0, 0.1)], RULE)
    assert both[0] == pytest.approx(0.9)
    assert doubtful[0] == pytest.approx(0.3)
    assert evidence([], [], RULE).tolist() == [0.0] * len(EVIDENCE)
