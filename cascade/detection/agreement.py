"""When two detectors agree: pure functions of what each of them saw.

One detector's false alarms are seldom the other's: where both put the same thing in the same place three times, there
are roadworks; where neither sees anything and stage 1 leans the same way, there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cascade.detection.boxes import CLASSES, Box, iou

Verdict = Literal["roadwork", "clear", "undecided"]
# of COCO's 80 classes: enough to know a detector that nobody has fine-tuned
COCO_SIGNS = {"traffic light", "stop sign", "parking meter", "toothbrush"}


class UnusableDetector(ValueError):
    """A detector whose classes are not those of roadworks, or that cannot be loaded; the message says what to do."""


class AgreementRule(BaseModel):
    """The agreement rule.

    Attributes:
        matches: so many objects that both see mean roadwork.
        iou: from this overlap on two boxes are the same object.
        clear_below: both empty and the prior below this mean clear.
        seen: per detector, the score from which a box counts as seen.
        suspected: per detector, the lower score from which it is no longer empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    matches: int = Field(ge=1)
    iou: float = Field(gt=0, lt=1)
    clear_below: float = Field(gt=0, lt=0.5)
    seen: tuple[float, float]
    suspected: tuple[float, float]


@dataclass(frozen=True)
class ObjectMatch:
    """One object in both detectors' answers.

    Attributes:
        first, second: indices into the two lists of boxes.
        overlap: IoU.
    """

    first: int
    second: int
    overlap: float


def check_classes(classes: Sequence[str], name: str) -> None:
    """Refuse a detector that cannot see roadworks.

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
        first: what one detector saw.
        second: what the other saw.
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
        # one more pair is worth more than all overlaps together
        worth = np.where(overlaps >= limit, overlaps + min(len(left), len(right)), 0.0)
        for row, column in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
            if worth[row, column] > 0:
                found.append(ObjectMatch(left[row], right[column], float(overlaps[row, column])))
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def agree(first: Sequence[Box], second: Sequence[Box], rule: AgreementRule, prior: float | None) -> Verdict:
    """Apply the rule.

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
    """What a probability is estimated from: see EVIDENCE for the order.

    Scores of a pair are combined by their geometric mean, so that a pair is as good as its doubtful half.
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
