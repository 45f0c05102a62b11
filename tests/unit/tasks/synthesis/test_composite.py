"""Cut-outs in photographs: where they land, how bright they are, and that nothing else changes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.synthesis.composite import (
    SIDE,
    Cutout,
    Placement,
    draw_placement,
    match_light,
    noise_of,
    paste,
    place_objects,
)

SIZE = (320, 200)


def photograph(level: int = 128, size: tuple[int, int] = SIZE, quality: int = 90) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(target, "JPEG", quality=quality)
    return target.getvalue()


def cutout(box: tuple[int, int, int, int] = (60, 70, 20, 40), label: int = 1) -> Cutout:
    """A red block whose feet stand below the horizon of an otherwise empty cut-out of 160 x 120 px."""
    image = Image.new("RGBA", (160, 120))
    x, y, width, height = box
    image.paste((220, 40, 10, 255), (x, y, x + width, y + height))
    return Cutout(image, label, ({"category": "cone", "bbox": list(box)},) if label else ())


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float32)


@pytest.mark.parametrize(
    ("placement", "bbox"),
    [
        (Placement(1, 0, 0), [60, 70, 20, 40]),  # as it is
        (Placement(2, 0, 0), [120, 140, 40, 60]),  # twice as large, clipped by the lower edge
        (Placement(1, 0, 0, mirrored=True), [80, 70, 20, 40]),
        (Placement(1, -70, 0), [0, 70, 10, 40]),  # half outside on the left
        (Placement(1, -78, 0), None),  # SIDE - 1 px are left
        (Placement(1, 400, 0), None),  # outside
    ],
)
def test_boxes_follow_the_placement(placement: Placement, bbox: list[float] | None) -> None:
    assert [item["bbox"] for item in place_objects(cutout(), placement, SIZE)] == ([bbox] if bbox else [])


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.8))
def test_the_horizons_coincide_and_boxes_lie_inside(seed: int, horizon: float) -> None:
    size = (640, 380)
    placement = draw_placement(cutout(), size, horizon, np.random.default_rng(seed))
    assert abs(placement.top + placement.scale * 60 - horizon * size[1]) <= 0.5
    for item in place_objects(cutout(), placement, size):
        x, y, width, height = item["bbox"]
        assert min(width, height) >= SIDE
        assert x >= 0
        assert y >= 0
        assert x + width <= size[0] + 1e-6
        assert y + height <= size[1] + 1e-6


def test_a_pasted_block_is_seen_in_its_box_alone() -> None:
    found = paste(photograph(), cutout(), Placement(1, 0, 0), np.random.default_rng(0))
    changed = np.abs(pixels(found.data) - 128).max(axis=-1) > 24
    x, y, width, height = map(int, found.objects[0]["bbox"])
    assert changed[y + 2 : y + height - 2, x + 2 : x + width - 2].all()
    changed[y - 8 : y + height + 8, x - 8 : x + width + 8] = False  # JPEG blocks
    assert not changed.any()
    assert found.share == pytest.approx(20 * 40 / (320 * 200), rel=0.15)


def test_edges_do_not_turn_dark() -> None:
    """Colours of a blurred edge are mixed with the street's, not with the black of empty pixels."""
    white = Image.new("RGBA", (160, 120))
    white.paste((255, 255, 255, 255), (60, 70, 80, 110))
    data = photograph(240, (1280, 800))
    found = pixels(paste(data, Cutout(white, 0), Placement(4, 0, 0), np.random.default_rng(0)).data)
    inside = found[320:400, 260:300].mean()
    assert found[240:480, 200:360].min() > min(inside, 240) - 6


def test_shadows_darken_the_street() -> None:
    shadow = Image.new("RGBA", (160, 120), (0, 0, 0, 100))
    found = paste(photograph(), Cutout(shadow, 0), Placement(1, 0, 0), np.random.default_rng(1))
    assert pixels(found.data)[20:100, 20:140].mean() < 100


@pytest.mark.parametrize("quality", [40, 95])
def test_works_and_nothing_are_encoded_as_the_photograph_was(quality: int) -> None:
    data = photograph(quality=quality)
    tables = Image.open(io.BytesIO(data)).quantization
    for added, placement in ((cutout(), Placement(1, 0, 0)), (None, None)):
        found = paste(data, added, placement, np.random.default_rng(0))
        assert Image.open(io.BytesIO(found.data)).quantization == tables
    assert found.objects == ()
    assert found.share == 0


def test_a_photograph_that_is_no_jpeg_becomes_one() -> None:
    target = io.BytesIO()
    Image.new("RGB", SIZE, (9, 90, 200)).save(target, "PNG")
    found = paste(target.getvalue(), None, None, np.random.default_rng(0))
    assert Image.open(io.BytesIO(found.data)).format == "JPEG"


@pytest.mark.parametrize("level", [40, 120, 250])
def test_bright_parts_follow_the_photograph(level: int) -> None:
    """White paint is about as bright as the brightest of the street, within the limits of the gain."""
    street = np.full((50, 50, 3), level, dtype=np.float32)
    street[:10] = 0  # black is black
    white = np.full((10, 10, 3), 230, dtype=np.float32)
    found = match_light(white, np.ones((10, 10), dtype=np.float32), street, np.random.default_rng(3)).mean()
    assert found == pytest.approx(np.clip(level, 0.45 * 230, 1.25 * 230), rel=0.4)


@pytest.mark.parametrize("deviation", [0.0, 2.0, 5.0])
def test_noise_is_estimated_beside_edges(deviation: float) -> None:
    grey = np.where(np.arange(200)[:, None] < 100, 40.0, 200.0) * np.ones((200, 200))
    noisy = grey[..., None] + np.random.default_rng(0).normal(0, deviation, (200, 200, 1)) * np.ones(3)
    assert noise_of(noisy.astype(np.float32)) == pytest.approx(deviation, rel=0.1, abs=0.05)
