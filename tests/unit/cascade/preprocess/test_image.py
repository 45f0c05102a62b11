"""Decoding: what is refused, with which reason, and what odd but sound files must look like."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from cascade.preprocess.image import BadImage, decode
from tests.support import tiny

JPEG = tiny.encoded(tiny.street(tiny.ORANGE))
PNG = tiny.encoded(tiny.street(tiny.ORANGE), "PNG")
LIMITS = {"max_pixels": 50_000_000, "min_side": 32}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is a letter, not a street", "not_an_image"),
        (b"\0" * 4096, "not_an_image"),
        (b"%PDF-1.7 of a street", "not_an_image"),
        # a decoder that is not on the list, although Pillow has it
        (tiny.encoded(tiny.street(tiny.ORANGE), "TIFF"), "not_an_image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        # the header says JPEG and nothing follows
        (JPEG[:20], "not_an_image"),
        (tiny.animation(), "animated"),
        (tiny.encoded(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        (tiny.encoded(Image.new("RGB", (400, 31)), "PNG"), "too_small"),
        # above Pillow's own limit, and between ours and Pillow's
        (tiny.bomb(60_000), "too_large"),
        (tiny.bomb(8_000), "too_large"),
    ],
)
def test_bad_image_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        decode(data, **LIMITS)
    assert caught.value.reason == reason
    assert str(caught.value)


def test_truncated_is_refused_even_where_a_library_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BadImage):
        decode(JPEG[: len(JPEG) // 2], **LIMITS)


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (JPEG, 6),
        (PNG, 0),
        (tiny.encoded(tiny.street(tiny.ORANGE), "BMP"), 0),
        (tiny.encoded(tiny.street(tiny.ORANGE), "GIF"), 6),
        (tiny.encoded(tiny.street(tiny.ORANGE).convert("CMYK")), 12),
        (tiny.encoded(tiny.street(tiny.ORANGE).convert("RGBA"), "PNG"), 0),
        (tiny.encoded(tiny.street(tiny.ORANGE).convert("P"), "PNG"), 40),
        (tiny.png16(tiny.street(tiny.ORANGE)), 0),
        (tiny.sideways(tiny.street(tiny.ORANGE)), 6),
        # a phone's picture with its preview: several frames, one picture
        (tiny.encoded(tiny.street(tiny.ORANGE), "MPO", save_all=True, append_images=[tiny.street(tiny.BLUE)]), 6),
    ],
    ids=["jpeg", "png", "bmp", "still gif", "cmyk", "rgba", "palette", "16-bit colour", "exif-rotated", "phone"],
)
def test_odd_but_sound_files_keep_size_and_colours(data: bytes, tolerance: int) -> None:
    image = decode(data, **LIMITS)
    assert (image.mode, image.size) == ("RGB", (400, 300))
    pixels = np.asarray(image).astype(int)
    assert np.abs(pixels[20, 200] - tiny.ORANGE).max() <= tolerance
    assert np.abs(pixels[280, 200] - (90, 90, 90)).max() <= tolerance


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = np.asarray(decode(tiny.encoded(Image.fromarray(ramp), "PNG"), **LIMITS))
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels[..., 0].astype(float) - ramp / 257).max() <= 0.5


def test_broken_exif_leaves_the_picture_as_it_lies() -> None:
    data = tiny.encoded(tiny.street(tiny.ORANGE), exif=b"Exif\0\0not a directory")
    assert decode(data, **LIMITS).size == (400, 300)


def test_limits_are_the_callers() -> None:
    assert decode(PNG, max_pixels=400 * 300, min_side=300).size == (400, 300)
    with pytest.raises(BadImage, match="400x300"):
        decode(PNG, max_pixels=400 * 300 - 1, min_side=1)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([JPEG, PNG, tiny.animation()]), st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_damage_gives_a_picture_or_a_bad_image_and_nothing_else(data: bytes, at: int, patch: bytes) -> None:
    at %= len(data)
    with contextlib.suppress(BadImage):
        assert decode(data[:at] + patch + data[at + len(patch) :], max_pixels=1_000_000, min_side=1).mode == "RGB"
