"""Boxes: overlap, suppression, and the way into the detector's square and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cascade.detection.boxes import PADDING, iou, letterbox, suppress


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # the same box
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        # half of it
        ((0, 0, 10, 10), (0, 0, 10, 5), 0.5),
        # a third: half of each is shared
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        # only an edge in common
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        # apart
        ((0, 0, 1, 1), (5, 5, 6, 6), 0.0),
        # empty boxes overlap with nothing, themselves neither
        ((3, 3, 3, 3), (3, 3, 3, 3), 0.0),
    ],
)
def test_iou(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    one, two = np.array([first], dtype=float), np.array([second], dtype=float)
    assert iou(one, two)[0, 0] == pytest.approx(expected)
    assert iou(two, one)[0, 0] == pytest.approx(expected)


def test_iou_of_no_boxes_is_an_empty_table() -> None:
    assert iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        # the second overlaps the first by 0.8, the third by a third
        (0.9, [1, 0, 2]),
        (0.6, [1, 2]),
        (0.1, [1]),
    ],
)
def test_suppress_keeps_the_best_of_those_that_overlap(limit: float, kept: list[int]) -> None:
    corners = np.array([[0, 0, 8, 10], [0, 0, 10, 10], [5, 0, 15, 10]], dtype=float)
    assert suppress(corners, np.array([0.5, 0.9, 0.4]), limit).tolist() == kept


def test_suppress_of_nothing() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize(
    ("size", "inside"),
    [
        # wide: bars above and below
        ((400, 200), (0, 16, 64, 48)),
        # tall: bars left and right
        ((200, 400), (16, 0, 48, 64)),
        # a square leaves no bars
        ((224, 224), (0, 0, 64, 64)),
        # a line of pixels keeps at least one
        ((640, 1), (0, 31, 64, 32)),
    ],
)
def test_letterbox_keeps_the_shape(size: tuple[int, int], inside: tuple[int, int, int, int]) -> None:
    pixels, placement = letterbox(Image.new("RGB", size, (255, 0, 0)), 64)
    assert pixels.shape == (64, 64, 3)
    left, top, right, bottom = inside
    assert (placement.left, placement.top) == (left, top)
    assert (pixels[top:bottom, left:right] == (255, 0, 0)).all()
    outside = np.ones((64, 64), dtype=bool)
    outside[top:bottom, left:right] = False
    assert (pixels[outside] == PADDING).all()


@given(
    st.integers(8, 700),
    st.integers(8, 700),
    st.lists(st.tuples(*[st.floats(0, 700)] * 4), min_size=1, max_size=5),
)
def test_a_box_comes_back_from_the_square(width: int, height: int, boxes: list[tuple[float, ...]]) -> None:
    _, placement = letterbox(Image.new("RGB", (width, height)), 96)
    corners = np.array(boxes)
    assert np.allclose(placement.back(placement.into(corners)), corners)
