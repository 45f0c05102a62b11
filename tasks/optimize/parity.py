"""How far an engine's answers are from torch's in FP32: by direction, by probability, and by box corner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import sigmoid

Arrays = Mapping[str, NDArray[np.floating[Any]]]
Answer = Callable[[NDArray[np.uint8]], Arrays]
# of a picture: boxes that score less come and go with the rounding, and decide nothing
BEST = 10
MOST = 0.95
BATCH = 8


@dataclass(frozen=True)
class ParityLimits:
    """How far an engine may be off.

    Attributes:
        cosine: at least; `export.tensorrt.min_cosine`.
        probability_gap: at most; `export.max_probability_gap`, for a detector `detect.max_score_gap`.
        corner_gap: at most; `detect.max_corner_gap`.
        metric_drop: at most; `export.tensorrt.max_metric_drop`.
        half_share: at least, of a graph or engine that is said to be FP16; `export.tensorrt.min_half_share`.
    """

    cosine: float = 0.999
    probability_gap: float = 0.02
    corner_gap: float = 0.01
    metric_drop: float = 0.005
    half_share: float = 0.5


@dataclass(frozen=True)
class Parity:
    """The gap between two answers to the same pictures.

    Attributes:
        cosine: of the logits, or of the scores of a detector's best boxes.
        probability_gap: the largest difference of a probability; of a detector, of 19 in 20 scores.
        corner_gap: distance of a corner as a share of the square, of 19 in 20 boxes; 0 for a classifier.
        worst: the largest difference of all, for people: no limit is put on it.
        finite: whether every number is one.
    """

    cosine: float
    probability_gap: float
    corner_gap: float
    worst: float
    finite: bool

    def faults(self, limits: ParityLimits) -> list[str]:
        """Say which limits are broken, in words."""
        checks = [
            (not self.finite, "some answers are not finite"),
            (self.cosine < limits.cosine, f"cosine {self.cosine:.6f} is under {limits.cosine}"),
            (
                self.probability_gap > limits.probability_gap,
                f"|Δp| {self.probability_gap:.4f} exceeds {limits.probability_gap}",
            ),
            (
                self.corner_gap > limits.corner_gap,
                f"a corner is {self.corner_gap:.4f} of the square off, {limits.corner_gap} is allowed",
            ),
        ]
        return [text for broken, text in checks if broken]

    def row(self) -> dict[str, Any]:
        """Give what a report holds; JSON has no NaN."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True)
class ParityReport:
    """What an engine is held against.

    Attributes:
        pictures: uint8 (n, size, size, 3), real ones.
        reference: torch's answers in FP32, by the name of the output: `logit`, or `corners` and `scores`.
        metric: the task's metric of answers to these pictures, larger is better; None where there are no labels.
        metric_name: for the report.
    """

    pictures: NDArray[np.uint8]
    reference: Arrays
    metric: Callable[[Arrays], float] | None = None
    metric_name: str = "mcc"


def run_all(answer: Answer, pictures: NDArray[np.uint8], batch: int = BATCH) -> dict[str, NDArray[np.floating[Any]]]:
    """Answer all pictures, a few at a time."""
    parts = [answer(pictures[start : start + batch]) for start in range(0, len(pictures), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare(reference: Arrays, answers: Arrays) -> Parity:
    """Measure the gap; boxes are held against the nearest of the other side.

    A DETR chooses its queries by rank: any rounding, FP32's too, swaps one at the edge now and then, and each swap
    moves a box or two at once. So most boxes are judged, and the task's metric guards the rest.
    """
    if not all(np.isfinite(answers[name]).all() for name in reference):
        return Parity(0.0, float("inf"), float("inf"), float("inf"), finite=False)
    if "scores" in reference:
        return _boxes(reference, answers)
    here, there = (np.asarray(side["logit"], dtype=np.float64) for side in (reference, answers))
    gap = float(np.abs(sigmoid(here) - sigmoid(there)).max())
    return Parity(_cosine(here, there), gap, 0.0, gap, finite=True)


def _boxes(reference: Arrays, answers: Arrays) -> Parity:
    pairs = []
    for one, other in ((reference, answers), (answers, reference)):
        for rows, others in zip(_rows(one), _rows(other), strict=True):
            best = rows[np.argsort(-rows[:, 4:].max(axis=1), kind="stable")[:BEST]]
            apart = np.abs(best[:, None] - others[None]).max(axis=2)
            pairs.append((best, others[apart.argmin(axis=1)]))
    here, there = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    gap = np.abs(here - there)
    scores, corners = gap[:, 4:].max(axis=1), gap[:, :4].max(axis=1)
    score, corner = (float(np.quantile(part, MOST)) for part in (scores, corners))
    return Parity(_cosine(here[:, 4:], there[:, 4:]), score, corner, float(scores.max()), finite=True)


def _rows(side: Arrays) -> NDArray[np.float64]:
    return np.concatenate([side["corners"], side["scores"]], axis=2).astype(np.float64)


def _cosine(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    scale = np.linalg.norm(here) * np.linalg.norm(there)
    return float((here * there).sum() / scale) if scale > 0 else float(np.array_equal(here, there))
