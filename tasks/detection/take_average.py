"""The averaged weights take the place of a detector's raw ones, and both are measured on a few calibration views first.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cascade.detection.boxes import Box, letterbox
from cascade.engines.boxes import BoxContract, boxes_of
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import read_annotated_images
from tasks.data.schema import split_file
from tasks.detection.export import contract_of
from tasks.detection.inference import DetectedView, true_views
from tasks.detection.precision import average_precision
from tasks.training.raw_and_averaged import spread_rows

PICTURES = 32  # one view of each, two passes
BATCH = 8
View = tuple[Image.Image, DetectedView]


def take_average(
    name: str, detector: Any, average: dict[str, torch.Tensor], params: DetectParams, pulled: Path
) -> dict[str, Any]:
    """Measure both weights and leave the averaged ones in the detector.

    Args:
        name: yolo or detr.
        detector: with the weights of the last step.
        average: tensors of what was trained.
        params: section `detect`.
        pulled: the splits as parquet; the calibration split is not trained on.

    Returns:
        mAP50 of both, `views`, and a sentence; so few views tell a fault of the average, and no small difference.
    """
    pictures = read_annotated_images([split_file(pulled, "calibration")])
    chosen = [pictures[row] for row in spread_rows([picture.label for picture in pictures], PICTURES)]
    views = [view for picture in chosen for view in true_views(picture, 1, params)]
    contract = contract_of(detector, name, params)
    raw = _map50(detector, views, contract)
    detector.load_state_dict(average, strict=False)
    averaged = _map50(detector, views, contract)
    given = f"mAP50 {averaged:.3f}, that of the raw weights {raw:.3f}"
    sentence = f"the averaged weights are kept{_judged(raw, averaged)}: {given}"
    return {"views": len(views), "raw": {"map50": raw}, "averaged": {"map50": averaged}, "sentence": sentence}


def _judged(raw: float, averaged: float) -> str:
    """An average that follows too slowly finds next to nothing where the raw weights find something."""
    if averaged >= raw / 2:
        return ""
    return " and find less than half of what the raw ones do; change training.ema_decay, or train for more steps"


def _map50(detector: Any, views: Sequence[View], contract: BoxContract) -> float:
    detector.eval()
    found = [
        boxes
        for start in range(0, len(views), BATCH)
        for boxes in _see(detector, views[start : start + BATCH], contract)
    ]
    table = average_precision([view.truth for _, view in views], found)
    return round(table["all"]["map50"], 4) if table else 0.0


def _see(detector: Any, views: Sequence[View], contract: BoxContract) -> list[list[Box]]:
    """Boxes in pixels of each view, as `cascade.engines.boxes.BoxEngine` gives them."""
    squares = [letterbox(image, contract.size) for image, _ in views]
    pixels = torch.from_numpy(np.stack([square for square, _ in squares]))
    with torch.inference_mode():
        corners, scores = (
            part.double().cpu().numpy() for part in detector(pixels.to(next(detector.parameters()).device))
        )
    return [
        boxes_of(placement.back(where * contract.size), given, contract)
        for (_, placement), where, given in zip(squares, corners, scores, strict=True)
    ]
