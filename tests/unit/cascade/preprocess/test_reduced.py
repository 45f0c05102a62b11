"""Large JPEGs at reduced size: which, by how much, and that places in the answer are those of the whole picture."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.preprocess.image import Decoded, finish, open_image
from cascade.stages.base import StageResult
from tests.support import tiny


def decoded(data: bytes, enough: int) -> Decoded:
    return finish(open_image(data, max_pixels=10_000_000, min_side=32), enough)


@pytest.mark.parametrize(
    ("size", "kind", "enough", "expected", "reduced"),
    [
        # nothing was asked for
        ((1600, 1200), "JPEG", 0, (1600, 1200), 1),
        # half would be too small
        ((1598, 1200), "JPEG", 800, (1598, 1200), 1),
        ((1600, 1200), "JPEG", 800, (800, 600), 2),
        # the longer side counts, whichever it is
        ((300, 1600), "JPEG", 800, (150, 800), 2),
        ((1600, 1200), "JPEG", 400, (400, 300), 4),
        ((1600, 1200), "JPEG", 10, (200, 150), 8),
        # odd sides are rounded up
        ((1601, 1201), "JPEG", 800, (801, 601), 2),
        # other formats have no such thing
        ((1600, 1200), "PNG", 800, (1600, 1200), 1),
        ((1600, 1200), "WEBP", 800, (1600, 1200), 1),
    ],
)
def test_who_is_reduced(size: tuple[int, int], kind: str, enough: int, expected: tuple[int, int], reduced: int) -> None:
    found = decoded(tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE, size=size), kind), enough)
    assert (found.image.size, found.reduced) == (expected, reduced)
    # the colours stay where they were
    pixels = np.asarray(found.image, dtype=int)
    middle = pixels.shape[0] // 2
    assert np.abs(pixels[: middle - 8] - tiny.ORANGE).max() < 12
    assert np.abs(pixels[middle + 8 :] - tiny.BLUE).max() < 12


def test_a_picture_that_was_held_sideways_is_turned_after_it() -> None:
    found = decoded(tiny.sideways(tiny.street(tiny.ORANGE, tiny.BLUE, size=(1600, 1200))), 800)
    assert (found.image.size, found.reduced) == ((800, 600), 2)
    assert np.abs(np.asarray(found.image, dtype=int)[10, 400] - tiny.ORANGE).max() < 12


@pytest.mark.parametrize("key", ["corners", "box"])
def test_places_are_those_of_the_whole_picture(key: str) -> None:
    detail = {"found": [{key: [1.5, 2, 3, 4], "score": 0.5}], "summary": "two", "scores": [1, 2]}
    result = StageResult(stage="ocr", verdict="undecided", milliseconds=1, detail=detail)  # type: ignore[arg-type]
    enlarged = result.enlarged(4).detail
    assert enlarged == {**detail, "found": [{key: [6.0, 8, 12, 16], "score": 0.5}]}
