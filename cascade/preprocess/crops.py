"""Squares of a wide picture: street cameras see 16:9, and works often stand at the side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def square_crops(image: Image.Image, count: int) -> Iterator[Image.Image]:
    """Cut `count` squares as large as the shorter side, evenly spread along the longer one, from edge to edge."""
    side, spare = min(image.size), max(image.size) - min(image.size)
    for index in range(count):
        start = round(spare * index / (count - 1)) if count > 1 else spare // 2
        left, top = (start, 0) if image.width > image.height else (0, start)
        yield image.crop((left, top, left + side, top + side))
