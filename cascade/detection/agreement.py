"""When two detectors agree: pure functions of the boxes of both.

Two detectors seldom have the same false alarms: where both find three objects of the same class in the same place,
the verdict is roadwork; where neither finds any and the prior is low, it is clear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cascade.detection.boxes import CLASSES, Box, iou
from cascade.probability import Verdict

# of COCO's 80 classes: enough to recognise a detector without fine-tuning
COCO_SIGNS = {"traffic light", "stop sign", "parking meter", "toothbrush"}


class UnusableDetector(ValueError):
    """A detector whose classes are not those of roadworks, or that cannot be loaded; the message says what to do."""


class AgreementRule(BaseModel):
    """The thresholds of the verdict.

    Attributes:
        matches: number of objects that both find, from which on the verdict is roadwork.
        iou: overlap from which on two boxes are the same object.
        clear_below: prior below which the verdict is clear where neither detector finds anything.
        seen: per detector, the score from which on a box counts as an object.
        suspected: per detector, the lower score from which on it rules out clear.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    matches: int = Field(ge=1)
    iou: float = Field(gt=0, lt=1)
    clear_below: float = Field(gt=0, lt=0.5)
    seen: tuple[float, float]
    suspected: tuple[float, float]


@dataclass(frozen=True)
class ObjectMatch:
    """One object that both detectors find.

    Attributes:
        first, second: indices into the two lists of boxes.
        overlap: IoU.
    """

    first: int
    second: int
    overlap: float


def check_classes(classes: Sequence[str], name: str) -> None:
    """Refuse a detector whose classes are not `CLASSES`.

    Raises:
        UnusableDetector: its classes are others, those of COCO for example.
    """
    if tuple(classes) == CLASSES:
        return
    ours = ", ".join(CLASSES)
    if COCO_SIGNS & set(classes):
        raise UnusableDetector(
            f"{name}: this is an unmodified COCO detector: COCO has no cone, drum or barrier, so it would find nothing "
            f"at roadworks and its silence would count as clear. Fine-tune it on boxes of {ours}: `dvc repro detect`"
        )
    raise UnusableDetector(
        f"{name}: its classes are {', '.join(classes) or 'none'}; the agreement rule needs {ours}, in this order: "
        "`dvc repro detect` exports such a detector"
    )


def match(first: Sequence[Box], second: Sequence[Box], limit: float) -> list[ObjectMatch]:
    """Pair boxes of the same class one to one (Hungarian method, Kuhn 1955).

    As many pairs as possible that overlap by at least `limit`, and among those the largest sum of overlaps: so neither
    the order of the detectors nor a further box ever makes them fewer.

    Args:
        first: boxes of one detector, px of the picture.
        second: those of the other.
        limit: IoU, above 0.

    Returns:
        Matches in the order of `first`.
    """
    from scipy.optimize import linear_sum_assignment

    found: list[ObjectMatch] = []
    for category in CLASSES:
        left = [index for index, box in enumerate(first) if box.category == category]
        right = [index for index, box in enumerate(second) if box.category == category]
        overlaps = iou(_corners(first[index] for index in left), _corners(second[index] for index in right))
        # one more pair weighs more than all overlaps together
        weight = np.where(overlaps >= limit, overlaps + min(len(left), len(right)), 0.0)
        for row, column in zip(*linear_sum_assignment(weight, maximize=True), strict=True):
            if weight[row, column] > 0:
                found.append(ObjectMatch(left[row], right[column], float(overlaps[row, column])))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def agree(first: Sequence[Box], second: Sequence[Box], rule: AgreementRule, prior: float | None) -> Verdict:
    """Give the verdict of two detectors on one picture.

    Args:
        first: all boxes of one detector, whatever their score.
        second: all boxes of the other.
        rule: the thresholds.
        prior: P(roadwork) of the stages before, or None where there were none: then nothing is clear.
    """
    pair = [(boxes, seen, low) for boxes, seen, low in zip((first, second), rule.seen, rule.suspected, strict=True)]
    sure = [[box for box in boxes if box.score >= seen] for boxes, seen, _ in pair]
    if len(match(sure[0], sure[1], rule.iou)) >= rule.matches:
        return "roadwork"
    empty = all(box.score < low for boxes, _, low in pair for box in boxes)
    return "clear" if empty and prior is not None and prior < rule.clear_below else "undecided"


def evidence(first: Sequence[Box], second: Sequence[Box], rule: AgreementRule) -> NDArray[np.float64]:
    """Give the features of the probability, float64 (8,), in the order of `EVIDENCE`.

    A matched pair has the geometric mean of its two scores, so that it is low where one of them is.
    """
    pairs = match(first, second, rule.iou)
    shared = sorted(((first[p.first].score * second[p.second].score) ** 0.5 for p in pairs), reverse=True)
    alone = [sorted((box.score for box in boxes), reverse=True) for boxes in (first, second)]
    best = [_at(shared, rank) for rank in range(3)]
    return np.array([*best, sum(shared), *(value for s in alone for value in (_at(s, 0), _at(s, 2)))])


EVIDENCE = ("pair_1", "pair_2", "pair_3", "pairs", "first_1", "first_3", "second_1", "second_3")


def _at(scores: Sequence[float], rank: int) -> float:
    return scores[rank] if rank < len(scores) else 0.0


def _corners(boxes: Iterable[Box]) -> NDArray[np.float64]:
    return np.array([box.corners for box in boxes], dtype=np.float64).reshape(-1, 4)
