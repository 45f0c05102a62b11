"""Average precision of boxes as COCO defines it, by pycocotools: 101 recall points, IoU .50 to .95.

Import this only where a detector is measured; pycocotools is not in the base install.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import CLASSES, Box

IOU_50 = 0  # place of IoU .50 among COCO's
ALL_AREAS = (0, 1e10)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroundTruth:
    """What is in a picture.

    Attributes:
        corners: (k, 4), x1, y1, x2, y2 in the pixels that boxes are given in.
        classes: (k,), indices into CLASSES.
    """

    corners: Floats
    classes: NDArray[np.int64]


def average_precision(truths: Sequence[GroundTruth], boxes: Sequence[Sequence[Box]]) -> dict[str, dict[str, float]]:
    """Score a detector.

    Args:
        truths: one a picture.
        boxes: of every score, one list a picture.

    Returns:
        map50, map50_95 and boxes (how many there are) a class, and under "all" their mean over the classes that occur.
    """
    counts = {name: sum(int((truth.classes == index).sum()) for truth in truths) for index, name in enumerate(CLASSES)}
    # (IoUs, recalls, classes, areas, limits of boxes a picture)
    precision = _evaluate(truths, boxes).eval["precision"]
    table = {}
    for index, name in enumerate(CLASSES):
        if counts[name]:
            by_iou = precision[:, :, index, 0, 0].mean(axis=1)
            means = {"map50": float(by_iou[IOU_50]), "map50_95": float(by_iou.mean())}
            table[name] = {**means, "boxes": float(counts[name])}
    means = {name: float(np.mean([row[name] for row in table.values()])) for name in ("map50", "map50_95") if table}
    return {**table, "all": {**means, "boxes": float(sum(counts.values()))}} if table else {}


def best_f1(truths: Sequence[GroundTruth], boxes: Sequence[Sequence[Box]]) -> float:
    """Find the score above which precision and recall of all classes at IoU .50 balance best (F1).

    Args:
        truths: one a picture.
        boxes: of every score, one list a picture.

    Returns:
        The score; 0.5 where no box is right.
    """
    scores, right = _matches(_evaluate(truths, boxes))
    if not right.any():
        return 0.5
    total = sum(len(truth.classes) for truth in truths)
    f1 = 2 * right.cumsum() / (np.arange(1, len(right) + 1) + total)
    return float(scores[int(f1.argmax())])


def _matches(evaluation: Any) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores of all boxes, highest first, and which have an object of their class at IoU .50, (n,) each."""
    found = [item for item in evaluation.evalImgs if item is not None]
    scores = np.concatenate([np.zeros(0), *(item["dtScores"] for item in found)])
    right = np.concatenate([np.zeros(0), *(item["dtMatches"][IOU_50] for item in found)]) > 0
    order = np.argsort(-scores, kind="stable")
    return scores[order], right[order]


def _evaluate(truths: Sequence[GroundTruth], boxes: Sequence[Sequence[Box]]) -> Any:
    """Match boxes with objects, all boxes of a picture counted; gives a `COCOeval` with its curves."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = {
        "images": [{"id": number} for number in range(len(truths))],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES)],
    }
    documents = {**pictures, "annotations": list(_objects(truths))}, {**pictures, "annotations": list(_found(boxes))}
    # it reports its progress by print
    with redirect_stdout(io.StringIO()):
        sides = COCO(), COCO()
        for side, document in zip(sides, documents, strict=True):
            side.dataset = document
            side.createIndex()
        evaluation = COCOeval(*sides, iouType="bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(ALL_AREAS)], ["all"]
        evaluation.params.maxDets = [max(1, *map(len, boxes), 0)]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _objects(truths: Sequence[GroundTruth]) -> Iterator[dict[str, Any]]:
    """Objects as COCO has them; a number of 0 would count as no match."""
    number = 0
    for picture, truth in enumerate(truths):
        for corners, index in zip(truth.corners, truth.classes, strict=True):
            number += 1
            yield {**_annotation(number, picture, int(index), corners), "iscrowd": 0}


def _found(boxes: Sequence[Sequence[Box]]) -> Iterator[dict[str, Any]]:
    number = 0
    for picture, found in enumerate(boxes):
        for box in found:
            number += 1
            index = CLASSES.index(box.category)
            yield {**_annotation(number, picture, index, np.asarray(box.corners)), "score": box.score}


def _annotation(number: int, picture: int, category: int, corners: Floats) -> dict[str, Any]:
    """What objects and boxes have in common; corners are (4,)."""
    wide, high = corners[2:] - corners[:2]
    place = [float(corners[0]), float(corners[1]), float(wide), float(high)]
    return {"id": number, "image_id": picture, "category_id": category, "bbox": place, "area": float(wide * high)}
