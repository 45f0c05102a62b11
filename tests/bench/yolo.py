"""YOLO11n in our engine against ultralytics' own `predict`: `make bench` or `python -m tests.bench.yolo`.

The same weights (models/shipped/detectors/yolo), size, threads and thresholds on both sides, from a decoded picture to
boxes. Pictures are brought to the network's square first: how to resize is a matter of taste (Pillow's bicubic with us,
OpenCV's bilinear there), and boxes can only be compared where both see the same pixels. Ultralytics fuses convolution
and normalisation by itself, as always in `predict`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from cascade.detection.boxes import CLASSES, Box, letterbox
from cascade.engines.boxes import BoxEngine
from cascade.preprocess.image import decode
from cascade.stages.detectors import read_detectors
from tasks.config import load_params
from tasks.data.schema import read_records, split_file
from tests.bench.result import add_json, write_result
from tests.bench.side_by_side import sample, show, time_in_turns

DETECTORS, SHIPPED = Path("models/detectors"), Path("models/shipped/detectors/yolo")
PICTURES, SCORE = 32, 0.25


def main() -> None:
    """Print the table and how far boxes are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--engine", choices=("openvino", "onnxruntime"))
    parser.add_argument("--threads", type=int)
    add_json(parser)
    options = parser.parse_args()
    import torch

    settings = read_detectors(DETECTORS)
    kind = options.engine or settings.engine
    threads = options.threads or settings.threads
    engine = BoxEngine(DETECTORS / "yolo", kind, threads)
    size, suppress = engine.contract.size, engine.contract.suppress
    pictures, theirs = _pictures(size), _ultralytics()

    def predict(number: int) -> Any:
        return theirs.predict(
            pictures[number % len(pictures)], imgsz=size, conf=SCORE, iou=suppress, device="cpu", verbose=False
        )[0]

    def ours(number: int) -> list[Box]:
        return engine.see([pictures[number % len(pictures)]])[0]

    # its first call sets up the model, and leaves a core of two unused; the same number as ours is fair
    predict(0)
    torch.set_num_threads(threads)
    times = time_in_turns({"ours": ours, "ultralytics": predict}, options.rounds)
    title = f"YOLO11n at {size} px, {kind}, {threads} threads"
    show(title, times, "ours", {"ultralytics": 1.5})
    _compare([ours(number) for number in range(len(pictures))], [predict(number) for number in range(len(pictures))])
    write_result(options.json, {"yolo": [sample(times, "ours", "ultralytics")]})


def _pictures(size: int) -> list[Any]:
    from PIL import Image

    rows = sorted(read_records(split_file(Path("data/pulled"), "calibration")), key=lambda row: row["sha256"])
    works = [row for row in rows if row["label"] == 1][:PICTURES]
    images = (decode(row["image"]["bytes"], max_pixels=1 << 40, min_side=1) for row in works)
    return [Image.fromarray(letterbox(image, size)[0]) for image in images]


def _ultralytics() -> Any:
    """Their model object around our weights; no `.pt` is involved."""
    from tasks.detection.weights import build, read_weights
    from tasks.detection.yolo import importing_ultralytics

    params = load_params().detect
    detector = build("yolo", params, Path("models/backbone"))
    read_weights(detector, SHIPPED)
    with importing_ultralytics():
        from ultralytics import YOLO

    model = YOLO(f"yolo11{params.yolo.scale}.yaml", task="detect", verbose=False)
    model.model = detector.net.eval()
    model.model.names = dict(enumerate(CLASSES))
    return model


def _compare(ours: list[list[Box]], theirs: list[Any]) -> None:
    """Hold every box of theirs against the nearest of ours of its class, and print the distances."""
    apart, missed = [], 0
    for boxes, result in zip(ours, theirs, strict=True):
        for corners, category in zip(result.boxes.xyxy.numpy(), result.boxes.cls.numpy().astype(int), strict=True):
            near = [np.abs(np.array(box.corners) - corners).max() for box in boxes if box.category == CLASSES[category]]
            missed += not near
            apart += [min(near)] if near else []
    gaps = np.array(apart)
    within = int((gaps <= 1).sum())
    print(
        f"{len(gaps) + missed} boxes of ultralytics from score {SCORE}: {within} within 1 px of ours, largest distance "
        f"{gaps.max(initial=0):.3f} px, {missed} without one of ours"
    )


if __name__ == "__main__":
    main()
