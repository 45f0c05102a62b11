"""What is dropped, what goes to review, what is kept."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.common.files import sha256
from tasks.data.near_duplicates import thumbnail
from tasks.data.pictures import decode_stored
from tasks.synthesis.screen import contradicts, known_pictures, probabilities, screen
from tasks.synthesis.sheet import MOST, caption, draw_sheet
from tasks.synthesis.work import SyntheticImage
from tests.support import bad_images
from tests.support.drawn import dataset, encode, row, street, write_sample
from tests.support.synthesis import Head, params


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("pulled"))


def picture(seed: int, label: int, data: bytes | None = None) -> SyntheticImage:
    return SyntheticImage(row(seed, label, data=data), {"engine": "test"})


@pytest.mark.parametrize(
    ("label", "p", "expected"),
    [
        # at the limits of params.yaml, 0.05 and 0.95, and beyond
        (1, 0.05, False),
        (1, 0.049, True),
        (0, 0.95, False),
        (0, 0.951, True),
        # a sure head that agrees
        (1, 0.99, False),
        (0, 0.01, False),
    ],
)
def test_contradicts(label: int, p: float, expected: bool) -> None:
    assert contradicts(label, p, params()) is expected


@pytest.mark.parametrize("split", ["train", "calibration", "pool", "challenge"])
@pytest.mark.parametrize("quality", [90, 60])
def test_picture_of_any_split_is_dropped(pulled: Path, split: str, quality: int) -> None:
    """The same file, and the same picture saved again."""
    there = next(item for item in dataset() if item.split == split and item.label == 1)
    image, _ = street(int(there.name.split(".")[0]), cones=4)
    again = picture(1, 1, encode(image, quality=quality))
    new = picture(777_777, 1)
    kept = screen([again, new], pulled, Head(0.5), params())
    assert kept.duplicates == [again]
    assert kept.accepted == [new]


def test_of_two_alike_the_first_stays(pulled: Path) -> None:
    image, _ = street(555_555, cones=4)
    pictures = [picture(1, 1, encode(image, quality=quality)) for quality in (90, 70, 90)]
    kept = screen(pictures, pulled, Head(0.5), params())
    assert kept.accepted == pictures[:1]
    assert kept.duplicates == pictures[1:]


def test_contradicted_go_to_review_with_their_probability(pulled: Path) -> None:
    pictures = [picture(900_001, 1), picture(900_002, 1), picture(900_003, 0), picture(900_004, 0)]
    kept = screen(pictures, pulled, Head(0.01, 0.4, 0.99, 0.01), params())
    assert kept.review == [pictures[0], pictures[2]]
    assert kept.probability == [0.01, 0.99]
    assert kept.accepted == [pictures[1], pictures[3]]


def test_nothing_to_screen(pulled: Path) -> None:
    kept = screen([], pulled, Head(0.5), params())
    assert (kept.accepted, kept.review, kept.duplicates) == ([], [], [])


def test_head_sees_batches_of_one_shape() -> None:
    """A probability must not depend on how many pictures were made beside it."""
    shapes = []

    class Watched(Head):
        def score(self, pixels: Any) -> Any:
            shapes.append(pixels.shape)
            return pixels.reshape(len(pixels), -1).mean(axis=1) / 255, None

    grey = [np.full((224, 224, 3), value, dtype=np.uint8) for value in range(0, 200, 10)]
    found = probabilities(grey, Watched())
    assert np.allclose(found, np.arange(0, 200, 10) / 255)
    assert len(set(shapes)) == 1


def test_known_pictures_are_those_of_all_splits(tmp_path: Path) -> None:
    rows = dataset({"train": 3, "calibration": 2, "pool": 1, "challenge": 2})
    digests, thumbnails = known_pictures(write_sample(tmp_path, rows))
    assert digests == {item.sha256 for item in rows}
    assert thumbnails.shape == (8, 32, 32)


@pytest.mark.parametrize("name", bad_images.ODD)
def test_pictures_from_the_field_have_the_thumbnail_of_their_pixels(tmp_path: Path, name: str) -> None:
    """Turned as their EXIF says, whatever else its tags hold: a copy of such a picture is found."""
    rows = [*dataset({"train": 1, "calibration": 1, "pool": 1, "challenge": 1}), row(5000, 1, "train")]
    data = bad_images.ODD[name][0]
    rows[-1] = replace(rows[-1], data=data, sha256=sha256(data))
    _, thumbnails = known_pictures(write_sample(tmp_path, rows))
    gaps = np.abs(thumbnails.astype(int) - thumbnail(decode_stored(data)).astype(int)).mean(axis=(1, 2))
    assert gaps.min() < 2


@pytest.mark.parametrize("count", [0, 1, MOST + 5])
def test_sheet_shows_what_there_is(tmp_path: Path, pulled: Path, count: int) -> None:
    pictures = [picture(910_000 + index, index % 2) for index in range(count)]
    kept = screen(pictures, pulled, Head(0.5), params())
    draw_sheet(kept, tmp_path / "sheet.jpg", 7)
    first = (tmp_path / "sheet.jpg").read_bytes()
    draw_sheet(kept, tmp_path / "sheet.jpg", 7)
    assert first == (tmp_path / "sheet.jpg").read_bytes()
    assert min(Image.open(io.BytesIO(first)).size) > 100


def test_caption_says_why_a_picture_is_for_review() -> None:
    assert caption(picture(1, 1), 0.0123) == "roadwork: ?, noon, ?  p=0.012 REVIEW"
    assert caption(picture(2, 0), None) == "clear: ?, night, ?"
