"""The classifier's input: centre square, size, dtype."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cascade.preprocess.pixels import square, to_input


def striped(width: int, height: int) -> Image.Image:
    """Blue picture whose centred square is orange."""
    side = min(width, height)
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 128, 0), ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    return image


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (224, 224), (1000, 64), (33, 901)])
def test_only_the_centred_square_is_seen(shape: tuple[int, int]) -> None:
    pixels = to_input(striped(*shape), 224)
    assert (np.abs(pixels.astype(int) - (255, 128, 0)) <= 1).all()


def test_shrinking_averages_instead_of_picking() -> None:
    checker = (np.indices((896, 896)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = np.asarray(square(Image.fromarray(checker), 224))
    assert np.abs(pixels[8:-8, 8:-8].astype(int) - 127).max() <= 2


def test_a_picture_of_the_right_size_passes_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert (to_input(Image.fromarray(pixels), 224) == pixels).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(32, 300), st.integers(32, 300), st.sampled_from([28, 56, 224]), st.sampled_from(["RGB", "L"]))
def test_shape_and_dtype_hold_for_any_picture(width: int, height: int, size: int, mode: str) -> None:
    pixels = to_input(Image.new(mode, (width, height), 7), size)
    assert (pixels.shape, pixels.dtype) == ((size, size, 3), np.uint8)
    assert pixels.flags["C_CONTIGUOUS"]
