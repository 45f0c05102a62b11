"""Average precision: cases worked out by hand, and ultralytics' as an independent reference."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.detection.boxes import CLASSES, Box
from tasks.detection.precision import GroundTruth, average_precision, best_f1

Corners = tuple[float, float, float, float]
THERE: Corners = (0, 0, 10, 10)
ELSEWHERE: Corners = (50, 50, 60, 60)


def truth(*corners: Corners, kind: int = 0) -> GroundTruth:
    return GroundTruth(np.array(corners, dtype=float).reshape(-1, 4), np.full(len(corners), kind))


def cone(corners: Corners, score: float) -> Box:
    return Box("cone", score, corners)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        # found, exactly
        ([cone(THERE, 0.9)], 1.0),
        # found by the better box; the double costs nothing, it comes after full recall
        ([cone(THERE, 0.9), cone(THERE, 0.8)], 1.0),
        # a false alarm that is surer than the hit halves precision
        ([cone(ELSEWHERE, 0.95), cone(THERE, 0.9)], 0.5),
        # one that is less sure does not
        ([cone(THERE, 0.9), cone(ELSEWHERE, 0.1)], 1.0),
        # nothing found
        ([], 0.0),
        # another class in the right place
        ([Box("drum", 0.9, THERE)], 0.0),
        # an overlap below one half
        ([cone((6, 0, 16, 10), 0.9)], 0.0),
    ],
)
def test_map50_of_one_object(boxes: list[Box], expected: float) -> None:
    assert average_precision([truth(THERE)], [boxes])["cone"]["map50"] == pytest.approx(expected)


def test_half_of_the_objects_is_about_half() -> None:
    table = average_precision([truth(THERE), truth(THERE)], [[cone(THERE, 0.9)], []])
    # recalls 0, .01, ... .50 are reached: 51 of 101
    assert table["cone"]["map50"] == pytest.approx(51 / 101)


def test_a_loose_box_counts_at_low_overlaps_only() -> None:
    # 10 x 8 of 10 x 10: right up to .80
    table = average_precision([truth(THERE)], [[cone((0, 0, 10, 8), 0.9)]])
    assert table["cone"]["map50_95"] == pytest.approx(7 / 10)


def test_classes_that_do_not_occur_are_left_out_of_the_mean() -> None:
    table = average_precision([truth(THERE), truth(kind=1)], [[cone(THERE, 0.9)], [Box("drum", 0.9, THERE)]])
    assert set(table) == {"cone", "all"}
    assert table["all"] == pytest.approx({"map50": 1.0, "map50_95": 1.0, "boxes": 1.0})
    assert average_precision([truth()], [[]]) == {}


def test_an_object_is_given_to_one_box() -> None:
    # the second box is of the same object, and a false alarm
    table = average_precision([truth(THERE, ELSEWHERE)], [[cone(THERE, 0.9), cone(THERE, 0.8), cone(ELSEWHERE, 0.7)]])
    # precision 1 up to recall .5 (51 points), 2/3 from there on (50 points)
    assert table["cone"]["map50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_boxes_beyond_cocos_hundred_count() -> None:
    alarms = [cone(ELSEWHERE, 0.9)] * 120
    assert average_precision([truth(THERE)], [[*alarms, cone(THERE, 0.1)]])["cone"]["map50"] == pytest.approx(1 / 121)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    average_precision([truth(THERE)], [[cone(THERE, 0.9)]])
    assert capsys.readouterr() == ("", "")


def test_best_f1_lies_between_hits_and_false_alarms() -> None:
    seen = [[cone(THERE, 0.8), cone(ELSEWHERE, 0.3)], [cone(THERE, 0.7), cone(ELSEWHERE, 0.2)]]
    assert best_f1([truth(THERE), truth(THERE)], seen) == pytest.approx(0.7)
    assert best_f1([truth(THERE)], [[]]) == 0.5


def match_greedily(overlaps: np.ndarray, limit: float) -> np.ndarray:
    """Which boxes, best first, get an object that overlaps enough and is still free: (boxes, objects) to (boxes,)."""
    free, right = np.ones(overlaps.shape[1], dtype=bool), np.zeros(len(overlaps), dtype=bool)
    for number, row in enumerate(overlaps):
        left = np.where(free, row, -1.0)
        if left.size and left.max() >= limit:
            free[left.argmax()] = False
            right[number] = True
    return right


def test_agrees_with_ultralytics() -> None:
    from tasks.detection.yolo import importing_ultralytics

    with importing_ultralytics():
        from ultralytics.utils.metrics import ap_per_class

    random = np.random.default_rng(5)
    truths, seen, hits, scores, kinds, wanted = [], [], [], [], [], []
    for _ in range(60):
        low = random.uniform(0, 80, (4, 2))
        corners = np.concatenate([low, low + random.uniform(8, 20, (4, 2))], axis=1)
        classes = random.integers(0, 3, 4)
        truths.append(GroundTruth(corners, classes))
        wanted.extend(classes.tolist())
        found = [
            Box(CLASSES[kind], float(random.uniform(0.05, 1)), tuple(box + random.normal(0, 1.5, 4)))
            for box, kind in zip(corners, classes, strict=True)
            if random.random() < 0.8
        ]
        found += [Box(CLASSES[0], float(random.uniform(0, 0.6)), (0, 0, 5, 5))] * int(random.random() < 0.5)
        seen.append(found)
        for kind in range(3):
            mine = sorted((b for b in found if b.category == CLASSES[kind]), key=lambda b: -b.score)
            if mine:
                from cascade.detection.boxes import iou

                overlaps = iou(np.array([b.corners for b in mine]), corners[classes == kind])
                hits.append(np.stack([match_greedily(overlaps, limit) for limit in np.linspace(0.5, 0.95, 10)], axis=1))
                scores.extend(b.score for b in mine)
                kinds.extend([kind] * len(mine))
    reference = ap_per_class(np.concatenate(hits), np.array(scores), np.array(kinds), np.array(wanted))[5]
    ours = average_precision(truths, seen)
    for kind in range(3):
        assert ours[CLASSES[kind]]["map50"] == pytest.approx(reference[kind, 0], abs=0.02)
        assert ours[CLASSES[kind]]["map50_95"] == pytest.approx(reference[kind].mean(), abs=0.02)
