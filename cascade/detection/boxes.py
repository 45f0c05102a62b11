"""Boxes of stage 2: the classes, the square that a detector gets, and which boxes overlap.

Boxes are `x1, y1, x2, y2` with the origin at the top left, in pixels of the picture unless a docstring says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

# names follow the ROADWork dataset where it has them
CLASSES = ("cone", "drum", "barrier", "sign", "arrow_board", "worker", "vehicle")
# what YOLO pads with; any constant would do, but training and inference must agree
PADDING = (114, 114, 114)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """One object that a detector found.

    Attributes:
        category: one of CLASSES.
        score: 0 to 1, the detector's own, not calibrated.
        corners: x1, y1, x2, y2 in pixels of the picture.
    """

    category: str
    score: float
    corners: tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in its square: its longer side fills it, the rest is padding.

    Attributes:
        scale: pixels of the square per pixel of the picture.
        left, top: of the picture in the square, px.
    """

    scale: float
    left: int
    top: int

    def into(self, corners: Floats) -> Floats:
        """Picture pixels to square pixels, (n, 4)."""
        return np.asarray(corners * self.scale + np.array([self.left, self.top, self.left, self.top]))

    def back(self, corners: Floats) -> Floats:
        """Square pixels to picture pixels, (n, 4)."""
        return np.asarray((corners - np.array([self.left, self.top, self.left, self.top])) / self.scale)


def letterbox(image: Image.Image, size: int) -> tuple[NDArray[np.uint8], Placement]:
    """Fit a whole RGB picture into a square without changing its shape.

    Args:
        image: upright RGB.
        size: px a side.

    Returns:
        uint8 (size, size, 3), and where the picture lies in it.
    """
    from PIL import Image

    scale = size / max(image.size)
    wide, high = (max(1, round(side * scale)) for side in image.size)
    placement = Placement(scale, (size - wide) // 2, (size - high) // 2)
    square = Image.new("RGB", (size, size), PADDING)
    fitted = image if image.size == (wide, high) else image.resize((wide, high), Image.Resampling.BICUBIC)
    square.paste(fitted, (placement.left, placement.top))
    return np.asarray(square, dtype=np.uint8), placement


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair: (n, 4) and (m, 4) to (n, m); 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    union = _area(first)[:, None] + _area(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def suppress(corners: Floats, scores: Floats, limit: float) -> NDArray[np.int64]:
    """Non-maximum suppression: keep a box unless a better one of its class overlaps it by more than `limit` (IoU).

    Args:
        corners: (n, 4) of one class.
        scores: (n,).
        limit: 0 to 1.

    Returns:
        Indices of the boxes to keep, best first.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(corners, corners)
    kept: list[int] = []
    for index in order:
        if not kept or overlaps[index, kept].max() <= limit:
            kept.append(int(index))
    return np.array(kept, dtype=np.int64)


def _area(corners: Floats) -> Floats:
    return np.asarray((corners[:, 2:] - corners[:, :2]).clip(0).prod(axis=1))
