"""Test-time augmentation: what its views show, and which squares get it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cascade.preprocess.tta import HALF_PATCH, Tta, TtaView, run_with_tta, tta_views

BOTH: tuple[TtaView, ...] = ("mirrored", "shifted")
UNSURE = Tta(BOTH, 0.12, 0.88)


class Engine:
    """Says the brightness of the upper left pixel, in tenths of a unit from 100; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked.append(len(pixels))
        return (pixels[:, 0, 0, 0].astype(np.float32) - 100) / 10


def squares(*corners: int, right: int = 100) -> NDArray[np.uint8]:
    """Squares of 20 px: one brightness at the left, another at the right."""
    pixels = np.full((len(corners), 20, 20, 3), right, dtype=np.uint8)
    pixels[:, :, :10] = np.array(corners, dtype=np.uint8)[:, None, None, None]
    return pixels


def test_mirrored_and_moved_by_half_a_patch() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (2, 20, 20, 3), dtype=np.uint8)
    mirrored, moved = tta_views(pixels, BOTH)
    assert (tta_views(pixels, ["shifted"])[0] == moved).all()
    assert (mirrored == pixels[:, :, ::-1]).all()
    assert (moved[:, HALF_PATCH:, HALF_PATCH:] == pixels[:, :-HALF_PATCH, :-HALF_PATCH]).all()
    # what comes in from outside is the edge, drawn out
    assert (moved[:, :HALF_PATCH, HALF_PATCH:] == pixels[:, :1, :-HALF_PATCH]).all()


@pytest.mark.parametrize(
    ("corner", "views", "asked", "logit"),
    [
        (200, BOTH, [1], 10.0),  # sure of works: one view
        (40, BOTH, [1], -6.0),  # sure of none
        (110, BOTH, [1, 1, 1], (1.0 + 0.0 + 1.0) / 3),  # unsure: the mirrored view says 0, the shifted one the same
        (119, BOTH, [1, 1, 1], (1.9 + 0.0 + 1.9) / 3),  # 0.87
        (120, BOTH, [1], 2.0),  # 0.881: beyond
        (110, ("mirrored",), [1, 1], (1.0 + 0.0) / 2),  # one kind of view alone
        (110, ("shifted",), [1, 1], (1.0 + 1.0) / 2),
    ],
)
def test_only_the_unsure_are_looked_at_again(
    corner: int, views: tuple[TtaView, ...], asked: list[int], logit: float
) -> None:
    engine = Engine()
    found = run_with_tta(engine.run, squares(corner), UNSURE._replace(views=views))
    assert engine.asked == asked
    assert found.logit == pytest.approx([logit])
    assert found.first == pytest.approx([(corner - 100) / 10])
    assert found.augmented.tolist() == [len(asked) > 1]


def test_one_look_where_none_is_to_be_repeated() -> None:
    engine = Engine()
    found = run_with_tta(engine.run, squares(100, 110), None)
    assert engine.asked == [2]
    assert not found.augmented.any()


@given(st.lists(st.integers(0, 255), min_size=1, max_size=8), st.integers(0, 255))
def test_a_square_is_answered_alike_alone_and_among_others(corners: list[int], right: int) -> None:
    engine = Engine()
    together = run_with_tta(engine.run, squares(*corners, right=right), UNSURE)
    alone = [run_with_tta(engine.run, squares(corner, right=right), UNSURE).logit[0] for corner in corners]
    assert together.logit == pytest.approx(alone)
    assert (together.logit[~together.augmented] == together.first[~together.augmented]).all()
