"""Challenges: what is drawn, how often, and that the bytes are those of a validator."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.data.schema import DataError
from tasks.data.views import make_view
from tasks.subnet.challenge import Challenge, draw_challenges, make_images
from tasks.subnet.pictures import HUB, REAL, SYNTHETIC, Picture, list_pictures, picture_path
from tests.support import tiny
from tests.support.drawn import dataset, row, write_sample
from tests.support.natix import write_natix
from tests.support.paths import ROOT


def pictures(*counts: tuple[int, str, int]) -> list[Picture]:
    """So many pictures of each label and source."""
    return [
        Picture(f"{label}{source}{number:03d}", label, source, f"place {number}")
        for label, source, count in counts
        for number in range(count)
    ]


BOTH = pictures((0, REAL, 30), (0, SYNTHETIC, 3), (1, REAL, 5), (1, SYNTHETIC, 40))


def run(found: list[Picture], steps: int = 4000, **changes: float) -> list[Challenge]:
    given = {"steps": steps, "seed": 1, "synthetic": 0.5, "draws": 1, **changes}
    return draw_challenges(found, **given)  # type: ignore[arg-type]


def share(drawn: list[Challenge], test: Callable[[Challenge], bool]) -> float:
    return float(np.mean([test(one) for one in drawn]))


@pytest.mark.parametrize(
    ("test", "expected", "changes"),
    [
        # labels one to one, whatever the set's own balance
        (lambda one: one.picture.label == 1, 0.5, {}),
        # four levels of a quarter each
        *((lambda one, level=level: one.view.level == level, 0.25, {}) for level in range(4)),
        # sources by the parameter, not by how many pictures each has
        (lambda one: one.picture.source == SYNTHETIC, 0.5, {}),
        (lambda one: one.picture.source == SYNTHETIC, 0.2, {"synthetic": 0.2}),
        (lambda one: one.picture.source == SYNTHETIC, 0.0, {"synthetic": 0.0}),
        # one random view of a picture and level, or several
        (lambda one: one.view.draw == 0, 1.0, {}),
        (lambda one: one.view.draw == 2, 1 / 3, {"draws": 3}),
    ],
)
def test_shares(test: Callable[[Challenge], bool], expected: float, changes: dict[str, float]) -> None:
    # four standard errors of 4000 draws are 0.032
    assert share(run(BOTH, **changes), test) == pytest.approx(expected, abs=0.032 if 0 < expected < 1 else 0)


def test_a_label_of_one_kind_has_that_alone() -> None:
    drawn = run(pictures((0, REAL, 4), (1, REAL, 2), (1, SYNTHETIC, 2)), synthetic=0.25)
    assert {one.picture.source for one in drawn if one.picture.label == 0} == {REAL}
    assert {(one.picture.label, one.picture.source): one.share for one in drawn} == {
        (0, REAL): 0.5, (1, REAL): 0.375, (1, SYNTHETIC): 0.125,
    }  # fmt: skip


def test_the_seed_decides() -> None:
    assert run(BOTH, 50) == run(BOTH, 50)
    assert run(BOTH, 50) != run(BOTH, 50, seed=2)
    # a longer run begins like a shorter one
    assert run(BOTH, 80)[:50] == run(BOTH, 50)


def test_bytes_are_a_validators(tmp_path: Path) -> None:
    write_sample(tmp_path, dataset({"challenge": 4}))
    drawn = run(list_pictures(tmp_path / "challenge.parquet"), 200)
    images = make_images(tmp_path / "challenge.parquet", drawn, seed=7)
    # four pictures at four levels
    assert set(images) == {one.key for one in drawn}
    assert len(images) == 16
    originals = {one.sha256: one.data for one in dataset({"challenge": 4})}
    for challenge in drawn[:8]:
        with Image.open(io.BytesIO(base64.b64decode(images[challenge.key], validate=True))) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (224, 224), "RGB")
            received = np.asarray(image).astype(int)
        source = Image.open(io.BytesIO(originals[challenge.picture.key])).convert("RGB")
        view, _ = make_view(source, challenge.view, key=challenge.picture.key, seed=7, size=224)
        # encoded once more, a view is all but the same
        assert float(np.abs(received - view).mean()) < 1.0
    assert make_images(tmp_path / "challenge.parquet", drawn, seed=7) == images


def test_the_default_is_the_challenge_split_of_the_sample() -> None:
    found = list_pictures(ROOT / picture_path(None))
    assert (len(found), Counter(one.label for one in found)[1]) == (213, 101)
    assert {one.source for one in found} == {SYNTHETIC}


def test_of_natix_the_test_split_alone_is_used(tmp_path: Path) -> None:
    found = list_pictures(write_natix(tmp_path, drives=3, tests=2))
    assert len(found) == 10
    assert {one.place for one in found} == {"test_1000", "test_1001"}
    assert {one.source for one in found} == {REAL}


def test_of_a_folder_without_splits_every_picture_is_used(tmp_path: Path) -> None:
    for name, colour in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / name).mkdir()
        for number in range(9):
            data = tiny.encoded(tiny.street(colour, bottom=(number, number, number)))
            (tmp_path / name / f"{number}.jpg").write_bytes(data)
    assert len(list_pictures(tmp_path)) == 18
    # of one with splits the part that is kept for measuring
    whole = tmp_path / "whole"
    for split in ("train", "test"):
        for name in ("roadwork", "clear"):
            (whole / split / name).mkdir(parents=True)
            colour = (200, 100 if split == "test" else 50, 30 if name == "clear" else 60)
            (whole / split / name / "a.jpg").write_bytes(tiny.encoded(tiny.street(colour)))
    assert len(list_pictures(whole)) == 2


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder$"):
        list_pictures(tmp_path / "nowhere")
    write_sample(tmp_path, [row(number, 0, "challenge") for number in range(3)])
    with pytest.raises(DataError, match="0 pictures with roadworks and 3 without; challenges need both"):
        list_pictures(tmp_path / "challenge.parquet")


def test_the_hub_must_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(DataError, match=r"set pull\.data\.revision"):
        picture_path(HUB)
