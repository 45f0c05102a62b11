"""Training samples: boxes stay on their objects through every view, and a number always gives the same sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tasks.config import load_params
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.data.views import LEVELS, View
from tasks.detection.samples import DetectorDataset, view_input, whole_input
from tests.support.drawn import encode
from tests.support.paths import ROOT

RED = (230, 10, 10)


def params(seed: int, **changes: object) -> DetectParams:
    return load_params(ROOT / "params.yaml").detect.model_copy(update={"seed": seed, **changes})


def dataset(*names: str, seed: int = 3, draws: int | None = None) -> DetectorDataset:
    pictures = [picture(key=name) for name in names]
    return DetectorDataset(pictures, params(seed), size=64, colour_jitter=0.35, draws=draws)


def picture(box: tuple[int, int, int, int] = (150, 100, 210, 160), key: str = "a") -> AnnotatedImage:
    """A grey street with one red ellipse in its box."""
    image = Image.new("RGB", (400, 300), (120, 120, 120))
    ImageDraw.Draw(image).ellipse(box, fill=RED)
    return AnnotatedImage(encode(image, "PNG"), key, "here", 1, np.array([box], dtype=float), np.array([0]))


def red_box(pixels: np.ndarray) -> np.ndarray:
    """The box around what is red."""
    red = pixels[..., 0].astype(int) - pixels[..., 1] > 60
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


# levels 2 and 3 turn and crop as level 1 does, and then take the colour away that this test looks for
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LEVELS[:2]), st.booleans(), st.integers(0, 2000))
def test_the_box_of_a_view_is_around_its_object(level: int, mirrored: bool, seed: int) -> None:
    item = picture()
    sample = view_input(item, item.load(), View(level, 0, mirrored), params(seed), 224)
    assert sample.pixels.shape == (224, 224, 3)
    if not len(sample.corners):
        return
    # blur and JPEG spread the edges by some pixels, a turned box has room to spare
    assert np.abs(sample.corners[0] * 224 - red_box(sample.pixels)).max() < 12


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_box_of_a_whole_picture_is_exact(mirrored: bool) -> None:
    item = picture()
    sample = whole_input(item, item.load(), 400, mirrored=mirrored)
    assert np.abs(sample.corners[0] * 400 - red_box(sample.pixels)).max() <= 2


@pytest.mark.parametrize(
    ("box", "left"),
    [
        # in the middle
        ((190, 140, 210, 160), 1),
        # cut away by the centre crop, which keeps x from 50 to 350
        ((0, 100, 30, 130), 0),
        # a tenth of it is left: not worth naming
        ((5, 100, 55, 130), 0),
        # a half is
        ((20, 100, 80, 130), 1),
        # left, but under three pixels of the view
        ((200, 150, 203, 153), 0),
    ],
)
def test_boxes_that_a_view_keeps(box: tuple[int, int, int, int], left: int) -> None:
    item = picture(box)
    sample = view_input(item, item.load(), View(0), params(1), 320)
    assert len(sample.corners) == len(sample.classes) == left
    assert ((sample.corners >= 0) & (sample.corners <= 1)).all()


def test_a_number_always_gives_the_same_sample() -> None:
    first, again = dataset(*"abcde"), dataset(*"abcde")
    for number in (0, 4, 11):
        one, two = first(number), again(number)
        assert one.pixels.tobytes() == two.pixels.tobytes()
        assert one.corners.tolist() == two.corners.tolist()
    assert dataset(*"abcde", seed=4)(0).pixels.tobytes() != first(0).pixels.tobytes()


def test_an_epoch_shows_every_picture_once_and_views_repeat_after_their_draws() -> None:
    samples = dataset(*"abcde", draws=2)
    epochs = [[samples.key(number) for number in range(5 * epoch, 5 * epoch + 5)] for epoch in range(4)]
    assert all(sorted(number for number, _ in epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert [epoch[0][1] for epoch in epochs] == [0, 1, 0, 1]
    assert epochs[0] != epochs[2]


def test_a_view_that_comes_again_is_the_same_picture() -> None:
    """What is cached under a key must not depend on when it was made."""
    samples = dataset(*"abcde", draws=2)
    by_key: dict[tuple[int, int], bytes] = {}
    for number in range(20):
        pixels = samples(number).pixels.tobytes()
        assert by_key.setdefault(samples.key(number), pixels) == pixels
    assert len(by_key) == 10
