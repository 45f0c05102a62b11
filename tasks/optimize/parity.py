"""How far an engine's outputs are from torch's in FP32: by direction, by probability, and by box corner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import sigmoid

# outputs of a model by name: `logit` (n,), or `corners` (n, boxes, 4) and `scores` (n, boxes, classes)
Outputs = Mapping[str, NDArray[np.floating[Any]]]
Run = Callable[[NDArray[np.uint8]], Outputs]
BATCH = 8


@dataclass(frozen=True)
class ParityLimits:
    """How far an engine may differ from torch, and how that is measured.

    Attributes:
        cosine: at least; `export.tensorrt.min_cosine`.
        probability_gap: at most; `export.max_probability_gap`, for a detector `detect.max_score_gap`.
        corner_gap: at most, as a share of the square; `detect.max_corner_gap`.
        metric_drop: at most; `export.tensorrt.max_metric_drop`.
        half_share: at least, of a graph or engine that is labelled FP16; `export.tensorrt.min_half_share`.
        boxes: highest-scoring boxes of an image that count; `export.tensorrt.parity_boxes`.
        quantile: of the differences of these boxes; `export.tensorrt.parity_quantile`.
    """

    cosine: float = 0.999
    probability_gap: float = 0.02
    corner_gap: float = 0.01
    metric_drop: float = 0.005
    half_share: float = 0.5
    boxes: int = 10
    quantile: float = 0.95


@dataclass(frozen=True)
class Parity:
    """The differences between two engines' outputs for the same images.

    Attributes:
        cosine: of the logits, or of the scores of a detector's best boxes.
        probability_gap: the largest difference of a probability; of a detector, the quantile of its scores'.
        corner_gap: the quantile of the distances of corners, as a share of the square; 0 for a classifier.
        worst: the largest difference of all, for people: no limit is put on it.
        finite: whether every number is finite.
    """

    cosine: float
    probability_gap: float
    corner_gap: float
    worst: float
    finite: bool

    def faults(self, limits: ParityLimits) -> list[str]:
        """List in words which limits are broken."""
        checks = [
            (not self.finite, "some outputs are not finite"),
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
class ParityReference:
    """What an engine is compared with.

    Attributes:
        images: uint8 RGB (n, size, size, 3), real ones.
        outputs: torch's in FP32.
        metric: the task's metric of outputs for these images, larger is better; None where there are no labels.
        metric_name: for the report.
    """

    images: NDArray[np.uint8]
    outputs: Outputs
    metric: Callable[[Outputs], float] | None = None
    metric_name: str = "mcc"


def run_all(run: Run, images: NDArray[np.uint8], batch: int = BATCH) -> dict[str, NDArray[np.floating[Any]]]:
    """Run a model on images (n, size, size, 3), `batch` at a time; gives its outputs for all n, by name."""
    parts = [run(images[start : start + batch]) for start in range(0, len(images), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def compare(reference: Outputs, outputs: Outputs, limits: ParityLimits | None = None) -> Parity:
    """Measure the differences; each box is compared with the nearest one of the other side.

    A DETR chooses its queries by rank: any rounding, FP32's too, swaps one at the edge now and then, and each swap
    moves a box or two at once. So a quantile of the boxes is limited, and the task's metric guards the rest.

    Args:
        reference: torch's.
        outputs: the engine's, for the same images in the same order.
        limits: how boxes are measured; nothing is refused here.
    """
    if not all(np.isfinite(outputs[name]).all() for name in reference):
        return Parity(0.0, float("inf"), float("inf"), float("inf"), finite=False)
    if "scores" in reference:
        return _compare_boxes(reference, outputs, limits or ParityLimits())
    first, second = (np.asarray(side["logit"], dtype=np.float64) for side in (reference, outputs))
    gap = float(np.abs(sigmoid(first) - sigmoid(second)).max())
    return Parity(_cosine(first, second), gap, 0.0, gap, finite=True)


def _compare_boxes(reference: Outputs, outputs: Outputs, limits: ParityLimits) -> Parity:
    pairs = [
        _nearest(rows, others, limits.boxes)
        for one, other in ((reference, outputs), (outputs, reference))
        for rows, others in zip(_rows(one), _rows(other), strict=True)
    ]
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    gap = np.abs(first - second)
    scores, corners = gap[:, 4:].max(axis=1), gap[:, :4].max(axis=1)
    score, corner = (float(np.quantile(part, limits.quantile)) for part in (scores, corners))
    return Parity(_cosine(first[:, 4:], second[:, 4:]), score, corner, float(scores.max()), finite=True)


def _nearest(
    rows: NDArray[np.float64], others: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The best `count` boxes of an image, and for each the nearest box of the other side; both (count, 4 + classes)."""
    best = rows[np.argsort(-rows[:, 4:].max(axis=1), kind="stable")[:count]]
    distance = np.abs(best[:, None] - others[None]).max(axis=2)
    return best, others[distance.argmin(axis=1)]


def _rows(side: Outputs) -> NDArray[np.float64]:
    """Corners and scores side by side, (n, boxes, 4 + classes)."""
    return np.concatenate([side["corners"], side["scores"]], axis=2).astype(np.float64)


def _cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float((first * second).sum() / scale) if scale > 0 else float(np.array_equal(first, second))
