"""Squares of a picture: large ones, since works often stand at the side of 16:9, and small ones for works far away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

OVERLAP = 0.25  # of neighbouring small squares, so that works on a border lie well inside of one


def square_crops(image: Image.Image, count: int) -> Iterator[Image.Image]:
    """Cut `count` squares as large as the shorter side, evenly spread along the longer one, from edge to edge."""
    side, spare = min(image.size), max(image.size) - min(image.size)
    for index in range(count):
        start = round(spare * index / (count - 1)) if count > 1 else spare // 2
        left, top = (start, 0) if image.width > image.height else (0, start)
        yield image.crop((left, top, left + side, top + side))


def zoom_crops(image: Image.Image, share: float, row: float, most: int) -> Iterator[Image.Image]:
    """Cut squares of `share` of the shorter side along one row, evenly spread, neighbours overlapping by a quarter.

    Args:
        image: of any size.
        share: side of a square, of the shorter side.
        row: where the row lies: 0 at the upper edge, 1 at the lower one.
        most: squares, at most; then they lie further apart.
    """
    side = max(1, round(min(image.size) * share))
    spare, top = image.width - side, round((image.height - side) * row)
    count = min(most, 1 + math.ceil(spare / (side * (1 - OVERLAP))))
    for index in range(count):
        left = round(spare * index / max(1, count - 1))
        yield image.crop((left, top, left + side, top + side))
