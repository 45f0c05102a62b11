"""Copies are found, strangers and flat pictures are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tasks.data.near_duplicates import has_detail, near_pairs, thumbnail
from tests.support.drawn import street

BITS = 4


def stack(*images: Image.Image) -> np.ndarray:
    return np.stack([thumbnail(image) for image in images])


def again(image: Image.Image, quality: int = 40) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: image,
        again,
        lambda image: image.resize((640, 480)),
        lambda image: again(image.resize((200, 150))),
        lambda image: ImageEnhance.Brightness(image).enhance(0.95),
    ],
    ids=["same", "jpeg", "larger", "smaller", "darker"],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_copies_are_found(copy, seed: int) -> None:  # noqa: ANN001
    image, _ = street(seed, cones=3)
    assert [(i, j) for i, j, _ in near_pairs(stack(street(99)[0], image), stack(copy(image)), BITS)] == [(1, 0)]


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (300, 200), "grey"),
        Image.new("RGB", (300, 200), "black"),
        # a gradient as of fog, whose other frequencies are rounding
        Image.linear_gradient("L"),
        Image.linear_gradient("L").rotate(90),
        # night with sensor noise
        Image.fromarray(np.random.default_rng(0).integers(0, 6, (200, 300), dtype=np.uint8)),
    ],
    ids=["grey", "black", "gradient", "turned gradient", "night"],
)
def test_flat_pictures_are_no_copies(image: Image.Image) -> None:
    assert not has_detail(stack(image))[0]
    assert list(near_pairs(stack(image), stack(image), BITS)) == []


def test_different_streets_are_not_copies() -> None:
    many = stack(*[street(seed, cones=seed % 3)[0] for seed in range(120)])
    assert list(near_pairs(many[:60], many[60:], BITS)) == []


def test_a_hash_alone_convicts_nobody() -> None:
    image, _ = street(5, cones=2)
    # the same signs of frequencies at half the contrast of every one but with a bright block of its own
    other = np.asarray(thumbnail(image)).astype(int)
    other[::2, ::2] += 60
    pair = np.clip(other, 0, 255).astype(np.uint8)[None]
    assert list(near_pairs(stack(image), pair, 16)) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 8))
def test_symmetric_and_within_bits(seed: int, bits: int) -> None:
    image, _ = street(seed, cones=2)
    a, b = stack(image), stack(again(image, quality=15))
    there, back = list(near_pairs(a, b, bits)), list(near_pairs(b, a, bits))
    assert there == back
    assert all(distance <= bits for _, _, distance in there)


def test_blocks_cover_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.data.near_duplicates.BLOCK", 3)
    many = stack(*[street(seed)[0] for seed in range(10)])
    assert [(i, j) for i, j, _ in near_pairs(many, many, 0)] == [(i, i) for i in range(10)]


def test_empty_sets() -> None:
    none = np.zeros((0, 32, 32), dtype=np.uint8)
    assert list(near_pairs(none, stack(street(1)[0]), BITS)) == []
