"""Stage 2 with two real, tiny detectors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade.detection.agreement import UnusableDetector
from cascade.stages.detectors import DetectorsStage, consistent
from tests.support.tiny_detector import ANCHORS, ESTIMATE, RULE, street_with, write_detector, write_detectors


@pytest.fixture
def stage(tmp_path: Path) -> DetectorsStage:
    found = DetectorsStage(write_detectors(tmp_path))
    found.load()
    return found


@pytest.mark.parametrize(
    ("objects", "prior", "verdict", "words"),
    [
        # three cones in both
        (3, 0.5, "roadwork", "detectors agree on 3 roadwork objects (cone 3)"),
        # more, against the estimate of stage 1
        (4, 0.1, "roadwork", "agree on 4 roadwork objects (cone 3, barrier 1)"),
        # two are not enough
        (2, 0.5, "undecided", "agree on 2 of the 3 roadwork objects needed"),
        # nothing, and stage 1 leans to clear
        (0, 0.2, "clear", "detectors find no roadwork objects, and the estimate before them is 0.20"),
        # nothing, and stage 1 does not
        (0, 0.6, "undecided", "agree on 0 of the 3"),
        # nothing, and no stage came before
        (0, None, "undecided", "agree on 0 of the 3"),
    ],
)
def test_verdicts(stage: DetectorsStage, objects: int, prior: float | None, verdict: str, words: str) -> None:
    (seen,) = stage.predict([street_with(objects)], None if prior is None else [prior])
    assert (seen.stage, seen.verdict) == ("detectors", verdict)
    assert words in str(seen.detail["summary"])
    assert seen.detail["matches"] == objects
    assert seen.probability is not None
    assert (seen.probability > 0.5) == (objects > 0)


def test_the_trace_holds_boxes_of_both_in_pixels(stage: DetectorsStage) -> None:
    (seen,) = stage.predict([street_with(1, scale=3)], [0.5])
    boxes: Any = seen.detail["boxes"]
    assert [box["detector"] for box in boxes] == ["yolo", "detr"]
    assert all(box["matched"] and box["category"] == "cone" for box in boxes)
    assert boxes[0]["corners"] == [3 * value for value in ANCHORS[0][1]]
    json.dumps(seen.model_dump(mode="json"))


def test_each_image_gets_its_own_prior(stage: DetectorsStage) -> None:
    seen = stage.predict([street_with(0), street_with(3), street_with(0)], [0.1, 0.1, 0.9])
    assert {one.batch for one in seen} == {3}
    assert [verdict.verdict for verdict in seen] == ["clear", "roadwork", "undecided"]


def test_threads_share_the_stage(stage: DetectorsStage) -> None:
    counts = [number % 5 for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda count: stage.predict([street_with(count)])[0].detail["matches"], counts))
    assert seen == counts


def test_only_a_loaded_stage_answers(stage: DetectorsStage) -> None:
    assert stage.memory_bytes >= 0
    stage.unload()
    with pytest.raises(RuntimeError, match="call load"):
        stage.predict([Image.new("RGB", (8, 8))])


def test_a_detector_of_other_classes_stops_the_stage(tmp_path: Path) -> None:
    folder = write_detectors(tmp_path)
    write_detector(folder / "detr", "detr", classes=["person", "stop sign"])
    with pytest.raises(UnusableDetector, match="unmodified COCO detector"):
        DetectorsStage(folder).load()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        # a rule without thresholds
        ({"rule": {"matches": 3}}, "iou"),
        # an estimate of another version's evidence
        ({"estimate": {**ESTIMATE, "weights": [1.0]}}, "1 weights for the 8 numbers"),
        # one detector cannot agree
        ({"detectors": ["yolo"]}, "detectors"),
        # no matches would make every street roadwork
        ({"rule": {**RULE, "matches": 0}}, "matches"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableDetector, match=words):
        DetectorsStage(write_detectors(tmp_path, **settings))


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableDetector, match=r"detectors\.json: no such file"):
        DetectorsStage(tmp_path)


@pytest.mark.parametrize(
    ("probability", "verdict", "expected"),
    [
        (0.9, "roadwork", 0.9),
        (0.2, "roadwork", 0.51),
        (0.6, "clear", 0.49),
        (0.1, "clear", 0.1),
        (0.6, "undecided", 0.6),
    ],
)
def test_a_probability_never_contradicts_its_verdict(probability: float, verdict: Any, expected: float) -> None:
    assert consistent(probability, verdict) == pytest.approx(expected)
