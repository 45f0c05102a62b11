"""The detectors' engine with real ONNX files: what it refuses, and that boxes land where the objects are."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.detection.agreement import UnusableDetector
from cascade.detection.boxes import CLASSES
from cascade.engines.boxes import BoxContract, BoxEngine, boxes_of
from tests.support.tiny_detector import ANCHORS, SIZE, street_with, write_detector

COCO = [*(f"class {number}" for number in range(78)), "stop sign", "toothbrush"]


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        # as exported from a checkpoint that nobody fine-tuned
        ({"classes": COCO}, "unmodified COCO detector"),
        # ours, but the columns in another order
        ({"classes": list(reversed(CLASSES))}, "in this order"),
        # a key that this version does not know
        ({"mean": [0.5]}, "mean"),
        # not a size
        ({"size": 0}, "size"),
    ],
)
def test_contracts_that_are_refused(tmp_path: Path, contract: dict[str, Any], words: str) -> None:
    folder = write_detector(tmp_path / "yolo", "yolo", **contract)
    with pytest.raises(UnusableDetector, match=words) as caught:
        BoxEngine(folder, "onnxruntime", 1)
    assert str(folder) in str(caught.value)


def test_a_coco_detector_without_our_contract_is_refused_for_its_classes(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "yolo", "yolo")
    (folder / "contract.json").write_text(json.dumps({"classes": COCO, "imgsz": 640}))
    with pytest.raises(UnusableDetector, match="COCO has no cone"):
        BoxEngine(folder, "onnxruntime", 1)


@pytest.mark.parametrize("missing", ["detector.onnx", "contract.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_detector(tmp_path / "yolo", "yolo")
    (folder / missing).unlink()
    with pytest.raises(UnusableDetector, match=f"{missing}: no such file"):
        BoxEngine(folder, "onnxruntime", 1)


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_broken_model_is_named(tmp_path: Path, kind: Any) -> None:
    folder = write_detector(tmp_path / "yolo", "yolo")
    (folder / "detector.onnx").write_bytes(b"not a model")
    with pytest.raises(UnusableDetector, match=f"{kind} cannot load it"):
        BoxEngine(folder, kind, 1)


def test_an_answer_that_is_no_number_is_refused(tmp_path: Path) -> None:
    engine = BoxEngine(write_detector(tmp_path / "yolo", "yolo", gain=float("nan")), "onnxruntime", 1)
    with pytest.raises(UnusableDetector, match="expected finite corners and scores"):
        engine.see([street_with(1)])


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_contract_of_another_size_than_the_model_is_refused(tmp_path: Path, kind: Any) -> None:
    engine = BoxEngine(write_detector(tmp_path / "yolo", "yolo", size=32), kind, 1)
    with pytest.raises(UnusableDetector, match=r"takes uint8 \(None, 64, 64, 3\), got uint8 \(1, 32, 32, 3\)"):
        engine.see([street_with(1)])


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_boxes_are_in_pixels_of_the_picture(tmp_path: Path, kind: Any) -> None:
    engine = BoxEngine(write_detector(tmp_path / "yolo", "yolo"), kind, 1)
    images = [street_with(count, scale=scale) for count, scale in ((0, 1), (2, 1), (4, 3), (1, 2), (3, 1))]
    seen = engine.see(images)
    assert [len(boxes) for boxes in seen] == [0, 2, 4, 1, 3]
    for boxes, scale in zip(seen, (1, 1, 3, 2, 1), strict=True):
        for box in boxes:
            (name,) = (name for name, at in ANCHORS if np.allclose(np.array(at) * scale, box.corners))
            assert box.category == name
            assert box.score == pytest.approx(1.0, abs=0.02)


def test_boxes_of_a_wide_picture_are_undone_from_the_letterbox(tmp_path: Path) -> None:
    image = street_with(0).resize((SIZE * 2, SIZE))
    # the first anchor's centre, (9, 27) in the square, is (18, 22) in a picture of twice its scale, 16 px down
    image.paste((255, 0, 0), (10, 10, 26, 34))
    (boxes,) = BoxEngine(write_detector(tmp_path / "yolo", "yolo"), "onnxruntime", 1).see([image])
    assert boxes[0].corners == pytest.approx((8, 8, 28, 36))


def test_threads_share_an_engine(tmp_path: Path) -> None:
    for kind in ("onnxruntime", "openvino"):
        engine = BoxEngine(write_detector(tmp_path / kind, "yolo"), kind, 1)  # type: ignore[arg-type]
        counts = [number % 5 for number in range(20)]
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda count, one=engine: one.see([street_with(count)])[0], counts))
        assert [len(boxes) for boxes in seen] == counts


def contract(**changes: Any) -> BoxContract:
    given = {"name": "x", "size": 64, "classes": CLASSES, "resize": "letterbox", "suppress": 0.5, "floor": 0.1}
    return BoxContract.model_validate({**given, "max_batch": 1, **changes})


@pytest.mark.parametrize(
    ("scores", "changes", "expected"),
    [
        # the second overlaps the first, of the same class: gone
        ([0.9, 0.8, 0.7], {}, [0.9, 0.7]),
        # the model has learnt to give each object one box
        ([0.9, 0.8, 0.7], {"suppress": None}, [0.9, 0.8, 0.7]),
        # below the floor
        ([0.9, 0.05, 0.09], {}, [0.9]),
        # more than certain is certain
        ([1.2, 0.0, 0.0], {}, [1.0]),
    ],
)
def test_boxes_of_a_picture(scores: list[float], changes: dict[str, Any], expected: list[float]) -> None:
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=float)
    table = np.zeros((3, len(CLASSES)))
    table[:, 1] = scores
    boxes = boxes_of(corners, table, contract(**changes))
    assert [box.score for box in boxes] == expected
    assert {box.category for box in boxes} == {"drum"}


def test_an_empty_box_is_dropped() -> None:
    table = np.full((1, len(CLASSES)), 0.9)
    assert boxes_of(np.array([[5.0, 5, 5, 9]]), table, contract()) == []
