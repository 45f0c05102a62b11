"""Stage 1 on pictures of any size: which squares it runs, and how their logits become one probability."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from cascade.release.manifest import CropSettings, ZoomSettings
from cascade.stages.classifier import ClassifierStage
from tests.support import tiny

ZOOM = ZoomSettings(share=0.5, row=1.0, most=8, weight=0.5, band=(0.25, 0.75), min_side=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def zooming(folder: Path) -> Iterator[ClassifierStage]:
    stage = ClassifierStage(folder, CropSettings(zoom=ZOOM))
    stage.load()
    yield stage
    stage.unload()


def far_works(size: int) -> Image.Image:
    """A grey square street: orange in the middle of the right half, which the lower right quarter shows on top."""
    image = Image.new("RGB", (size, size), (90, 90, 90))
    image.paste(tiny.ORANGE, (size // 2, size // 2, size, size * 3 // 4))
    return image


def test_small_squares_decide_what_large_ones_leave_open(folder: Path, zooming: ClassifierStage) -> None:
    plain = ClassifierStage(folder)
    plain.load()
    without, with_zoom = plain.predict([far_works(400)])[0], zooming.predict([far_works(400)])[0]
    assert without.probability == pytest.approx(0.5, abs=0.01)
    assert with_zoom.probability > 0.9
    # one large square and three small ones
    assert with_zoom.detail == {"views": 4}
    # the log of the mean odds over left, middle and right, and half of the large square's zero
    logits = [0.0, 0.5 * 240 / 255 * 10, 240 / 255 * 10]
    wanted = 0.5 * np.log(np.mean(np.exp(logits)))
    assert np.log(with_zoom.probability / (1 - with_zoom.probability)) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(
    ("image", "views"),
    [
        (far_works(400), 4),  # undecided and large
        (far_works(299), 1),  # a small square would only be enlarged
        (tiny.street(tiny.ORANGE, size=(400, 400)), 1),  # sure of works
        (tiny.street(tiny.BLUE, size=(400, 400)), 1),  # sure of none
        (far_works(400).crop((0, 0, 224, 224)), 1),  # what a validator sends
    ],
)
def test_only_large_pictures_in_the_band(zooming: ClassifierStage, image: Image.Image, views: int) -> None:
    assert zooming.predict([image])[0].detail.get("views", 1) == views


def test_a_batch_answers_as_each_picture_alone(zooming: ClassifierStage) -> None:
    pictures = [far_works(400), tiny.street(tiny.ORANGE), far_works(299), tiny.street(tiny.BLUE), far_works(600)]
    together = [result.probability for result in zooming.predict(pictures)]
    assert together == pytest.approx([zooming.predict([one])[0].probability for one in pictures])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"band": (0.75, 0.25)}, "band"),  # the wrong way round
        ({"band": (0.0, 0.5)}, "band"),  # no logit
        ({"weight": 1.0}, "weight"),  # the large squares would not count
        ({"share": 0.0}, "share"),
        ({"most": 0}, "most"),
        ({"rows": 2}, "rows"),  # unknown
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        ZoomSettings.model_validate({**ZOOM.model_dump(), **changes})
