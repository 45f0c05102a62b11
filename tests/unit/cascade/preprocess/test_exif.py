"""The orientation is read from its own tag, whatever the other tags hold; nothing in a block raises."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from cascade.preprocess.exif import orientation
from cascade.preprocess.image import decode
from tests.support import exif, fuzz, tiny
from tests.support.exif import (
    BYTE,
    DOUBLE,
    FLOAT,
    LONG,
    ORIENTATION,
    RATIONAL,
    SHORT,
    SIGNED_LONG,
    SOFTWARE,
    TEXT,
    UNDEFINED,
    X_RESOLUTION,
)

SIX = {ORIENTATION: (SHORT, [6])}
JPEG = tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE, size=(64, 48)))
LIMITS = {"max_pixels": 1_000_000, "min_side": 1}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (exif.block(SIX), 6),
        (exif.block(SIX, order=">"), 6),
        (exif.block(SIX, prefix=b"Exif\0\0"), 6),
        # a fill byte that is not zero
        (exif.block(SIX, prefix=b"Exif\0\xff"), 6),
        # other whole numbers than SHORT: the tag is clear all the same
        (exif.block({ORIENTATION: (LONG, [8])}), 8),
        (exif.block({ORIENTATION: (BYTE, [3])}), 3),
        (exif.block({ORIENTATION: (SIGNED_LONG, [6])}, order=">"), 6),
        # other tags of types that do not fit them
        (exif.block({**SIX, X_RESOLUTION: (TEXT, b"72\0")}), 6),
        (exif.block({**SIX, SOFTWARE: (RATIONAL, [(1, 3)])}), 6),
        (exif.block({**SIX, SOFTWARE: (RATIONAL, [(1, 0)])}), 6),
        (exif.block({**SIX, X_RESOLUTION: (DOUBLE, [72.0])}, gps={2: (SHORT, [1])}), 6),
        (exif.block(SIX, exif={0x9000: (FLOAT, [1.0]), 0x927C: (UNDEFINED, b"maker" * 100)}), 6),
        # nothing to turn by
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"II*\0", 1),
        (b"not a directory", 1),
        (exif.block({}), 1),
        (exif.block({SOFTWARE: (TEXT, b"x\0")}), 1),
        (exif.block({ORIENTATION: (SHORT, [0])}), 1),
        (exif.block({ORIENTATION: (SHORT, [9])}), 1),
        (exif.block({ORIENTATION: (SIGNED_LONG, [-6])}), 1),
        # not one whole number
        (exif.block({ORIENTATION: (SHORT, [6, 6])}), 1),
        (exif.block({ORIENTATION: (TEXT, b"6\0")}), 1),
        (exif.block({ORIENTATION: (RATIONAL, [(6, 1)])}), 1),
        # the directory lies outside the block
        (b"II*\0" + struct.pack("<I", 4_000_000_000), 1),
        # more entries than there are, of which the orientation is one that is there
        (exif.block(SIX)[:8] + struct.pack("<H", 65535) + exif.block(SIX)[10:], 6),
        # cut in the middle of the entry
        (exif.block(SIX)[:18], 1),
        # that of the thumbnail, in the second directory
        (exif.block({})[:10] + struct.pack("<I", 14) + exif.block(SIX)[8:], 1),
    ],
)
def test_orientation(block: bytes, expected: int) -> None:
    assert orientation(block) == expected


def test_damage_beside_the_tag_changes_nothing() -> None:
    """2,000 blocks whose orientation is sound, with anything in all other tags."""
    first = {
        **SIX,
        0x010F: (TEXT, b"Camera\0\0"),
        X_RESOLUTION: (RATIONAL, [(72, 1)]),
        SOFTWARE: (TEXT, b"v1.0 beta\0"),
    }
    block = exif.block(first, exif={0x829A: (RATIONAL, [(1, 60)])}, gps={2: (RATIONAL, [(52, 1), (31, 1), (1, 2)])})
    entry = block.index(struct.pack("<HH", ORIENTATION, SHORT))
    wanted = np.asarray(decode(exif.into_jpeg(JPEG, exif.segment(exif.block(SIX))), **LIMITS))
    assert wanted.shape == (64, 48, 3)
    for number in fuzz.cases(2000):
        # before the tag lies the maker's entry, behind it all the rest
        before = fuzz.mutated(block, number, low=12, high=entry)
        damaged = fuzz.mutated(before, number + 10**6, low=entry + 12, high=len(block))
        pixels = np.asarray(decode(exif.into_jpeg(JPEG, exif.segment(damaged)), **LIMITS))
        assert np.array_equal(pixels, wanted), number


def test_damage_anywhere_gives_the_picture_in_one_of_its_orientations() -> None:
    block = exif.block({**SIX, SOFTWARE: (TEXT, b"v1.0 beta\0")}, exif={0x829A: (RATIONAL, [(1, 60)])})
    png = tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE, size=(64, 48)), "PNG")
    for number in fuzz.cases(2000):
        damaged = fuzz.mutated(block, number)[:60_000]
        file = tiny.png_with(png, (b"eXIf", damaged)) if number % 2 else exif.into_jpeg(JPEG, exif.segment(damaged))
        assert decode(file, **LIMITS).size in ((64, 48), (48, 64)), number
