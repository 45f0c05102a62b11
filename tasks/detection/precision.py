"""Average precision of boxes as COCO defines it: greedy matching by score, 101 recall points, IoU .50 to .95.

Ours, because pycocotools is not among the dependencies; a test holds it against ultralytics' on random boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import CLASSES, Box, iou

IOUS = np.arange(0.5, 0.96, 0.05).round(2)
RECALLS = np.linspace(0, 1, 101)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What is in a picture: corners (k, 4) in the pixels that boxes are given in, and class indices (k,)."""

    corners: Floats
    classes: NDArray[np.int64]


def average_precision(truths: Sequence[Truth], seen: Sequence[Sequence[Box]]) -> dict[str, dict[str, float]]:
    """Score a detector.

    Args:
        truths: one a picture.
        seen: boxes of every score, one list a picture.

    Returns:
        map50, map50_95 and boxes (how many there are) a class, and under "all" their mean over the classes that occur.
    """
    table: dict[str, dict[str, float]] = {}
    for index, category in enumerate(CLASSES):
        total = sum(int((truth.classes == index).sum()) for truth in truths)
        if not total:
            continue
        scores, hits = _hits(truths, seen, index)
        precision = [_area(hits[np.argsort(-scores, kind="stable"), column], total) for column in range(len(IOUS))]
        table[category] = {"map50": precision[0], "map50_95": float(np.mean(precision)), "boxes": float(total)}
    means = {name: float(np.mean([row[name] for row in table.values()])) for name in ("map50", "map50_95") if table}
    return {**table, "all": {**means, "boxes": sum(row["boxes"] for row in table.values())}} if table else {}


def _hits(truths: Sequence[Truth], seen: Sequence[Sequence[Box]], index: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores (n,) of all boxes of a class, and whether each is right at every IoU, (n, 10)."""
    scores, hits = [np.zeros(0)], [np.zeros((0, len(IOUS)), dtype=bool)]
    for truth, boxes in zip(truths, seen, strict=True):
        mine = sorted((box for box in boxes if box.category == CLASSES[index]), key=lambda box: -box.score)
        corners = np.array([box.corners for box in mine], dtype=np.float64).reshape(-1, 4)
        overlaps = iou(corners, truth.corners[truth.classes == index])
        scores.append(np.array([box.score for box in mine]))
        hits.append(np.stack([greedy(overlaps, limit) for limit in IOUS], axis=1))
    return np.concatenate(scores), np.concatenate(hits)


def greedy(overlaps: Floats, limit: float) -> NDArray[np.bool_]:
    """Give every object to the best box that still wants it.

    Args:
        overlaps: (boxes, objects), boxes best first.
        limit: IoU from which a box may have an object.

    Returns:
        Which boxes have one, (boxes,).
    """
    free = np.ones(overlaps.shape[1], dtype=bool)
    right = np.zeros(len(overlaps), dtype=bool)
    for row, values in enumerate(overlaps):
        left = np.where(free, values, -1.0)
        if left.size and left.max() >= limit:
            free[left.argmax()] = False
            right[row] = True
    return right


def _area(hits: NDArray[np.bool_], total: int) -> float:
    """Area under precision over recall: at 101 recalls, the best precision from there on (0 beyond the last)."""
    if not len(hits):
        return 0.0
    true = hits.cumsum()
    recall, precision = true / total, true / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(envelope, 0.0)[places].mean())


def best_f1(truths: Sequence[Truth], seen: Sequence[Sequence[Box]], *, limit: float = 0.5) -> float:
    """Find the score above which precision and recall of all classes balance best (F1); 0.5 where nothing is right."""
    scores, hits = _pooled(truths, seen, limit)
    if not hits.any():
        return 0.5
    total = sum(len(truth.classes) for truth in truths)
    true = hits.cumsum()
    f1 = 2 * true / (np.arange(1, len(hits) + 1) + total)
    return float(scores[int(f1.argmax())])


def _pooled(truths: Sequence[Truth], seen: Sequence[Sequence[Box]], limit: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores of all boxes, highest first, and which are right."""
    column = int(np.argmin(np.abs(IOUS - limit)))
    parts = [_hits(truths, seen, index) for index in range(len(CLASSES))]
    scores = np.concatenate([part[0] for part in parts])
    hits = np.concatenate([part[1][:, column] for part in parts])
    order = np.argsort(-scores, kind="stable")
    return scores[order], hits[order]
