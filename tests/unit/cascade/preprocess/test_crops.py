"""Squares of a picture: where the large and the small ones lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade.preprocess.crops import square_crops, zoom_crops


def ramp(width: int, height: int) -> Image.Image:
    """A picture whose red is the column and whose green is the row, so that a square says where it lies."""
    across = np.broadcast_to(np.arange(width) % 256, (height, width))
    down = np.broadcast_to((np.arange(height) % 256)[:, None], (height, width))
    return Image.fromarray(np.stack([across, down, np.zeros_like(across)], axis=-1).astype(np.uint8))


def corners(squares: list[Image.Image]) -> list[tuple[int, int]]:
    """Column and row of the upper left pixel of each."""
    return [(int(pixel[0]), int(pixel[1])) for pixel in (np.asarray(one)[0, 0] for one in squares)]


@pytest.mark.parametrize(
    ("size", "count", "places"),
    [
        ((250, 100), 1, [(75, 0)]),  # the centre
        ((250, 100), 3, [(0, 0), (75, 0), (150, 0)]),  # from edge to edge
        ((100, 250), 2, [(0, 0), (0, 150)]),  # upright
        ((100, 100), 2, [(0, 0), (0, 0)]),  # a square has no sides to look at
    ],
)
def test_large_squares(size: tuple[int, int], count: int, places: list[tuple[int, int]]) -> None:
    assert corners(list(square_crops(ramp(*size), count))) == places


@pytest.mark.parametrize(
    ("size", "share", "row", "most", "side", "places"),
    [
        ((200, 100), 0.5, 1.0, 8, 50, [(0, 50), (38, 50), (75, 50), (112, 50), (150, 50)]),  # lower edge
        ((200, 100), 0.5, 0.0, 8, 50, [(0, 0), (38, 0), (75, 0), (112, 0), (150, 0)]),  # upper edge
        ((200, 100), 0.5, 0.5, 3, 50, [(0, 25), (75, 25), (150, 25)]),  # no more than that
        ((200, 100), 0.5, 0.5, 1, 50, [(0, 25)]),
        ((100, 100), 1.0, 0.7, 8, 100, [(0, 0)]),  # the whole
        ((100, 200), 0.8, 1.0, 8, 80, [(0, 120), (20, 120)]),  # upright: of its width
    ],
)
def test_small_squares(
    size: tuple[int, int], share: float, row: float, most: int, side: int, places: list[tuple[int, int]]
) -> None:
    squares = list(zoom_crops(ramp(*size), share, row, most))
    assert {one.size for one in squares} == {(side, side)}
    assert corners(squares) == places


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    share=st.floats(0.05, 1),
    row=st.floats(0, 1),
    most=st.integers(1, 16),
)
def test_small_squares_lie_inside_from_edge_to_edge(
    width: int, height: int, share: float, row: float, most: int
) -> None:
    image = Image.new("RGB", (width, height), "white")
    squares = list(zoom_crops(image, share, row, most))
    assert 1 <= len(squares) <= most
    for one in squares:
        assert one.width == one.height <= max(1, min(width, height))
        # what lies outside of a picture is black
        assert np.asarray(one).min() == 255
