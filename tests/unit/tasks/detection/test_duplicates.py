"""Pictures of ROADWork that a split measures with: refused by name, and left out where the list says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tasks.config.detect import CocoSource
from tasks.data.schema import DataError
from tasks.detection.coco import read_coco
from tasks.detection.duplicates import refuse_duplicates
from tests.support.drawn import dataset, encode, row, street, write_sample

BITS = 4


def source(folder: Path, pictures: dict[str, Image.Image]) -> CocoSource:
    """A COCO file of pictures without objects."""
    images = folder / "images"
    images.mkdir()
    for name, image in pictures.items():
        (images / name).write_bytes(encode(image, quality=70))
    document = {
        "categories": [{"id": 1, "name": "Cone"}],
        "images": [{"id": number, "file_name": name} for number, name in enumerate(pictures)],
        "annotations": [],
    }
    annotations = folder / "instances.json"
    annotations.write_text(json.dumps(document))
    return CocoSource(annotations=annotations, images=images)


def check(given: CocoSource, folder: Path) -> None:
    pictures = read_coco(given.annotations, given.images, given.left_out)
    refuse_duplicates(pictures, given, folder / "pulled", BITS, folder / "work")


# as `dataset` numbers them: 0 train, 1000 calibration, 3000 challenge
@pytest.mark.parametrize(
    ("seeds", "split"),
    [
        # one that is measured with, at another size and quality; one of each split; one of the challenge set twice
        ([3001], "challenge"),
        ([1001, 3001], "calibration"),
        ([3001, 3001], "challenge"),
    ],
)
def test_pictures_that_are_measured_with_are_refused(seeds: list[int], split: str, tmp_path: Path) -> None:
    write_sample(tmp_path / "pulled", dataset())
    shown = {f"{n}.jpg": street(seed, cones=4)[0].resize((640, 480)) for n, seed in enumerate(seeds)}
    given = source(tmp_path, {**shown, "other.jpg": street(99)[0]})
    with pytest.raises(DataError) as error:
        check(given, tmp_path)
    message = str(error.value)
    assert f"{len(seeds)} of its pictures are measured with: " in message
    assert f"0.jpg = {row(seeds[0], 1).sha256[:12]} of {tmp_path / 'pulled' / split}.parquet" in message
    command = f"`streetvision data check {tmp_path / 'pulled' / split}.parquet --against {given.images}`"
    assert command in message
    # what the message says to do
    listed = tmp_path / "work" / "duplicates.txt"
    assert f"detect.coco.left_out: {listed}" in message
    assert listed.read_text().split() == sorted(shown)
    check(given.model_copy(update={"left_out": listed}), tmp_path)


def test_a_second_list_has_the_first_in_it(tmp_path: Path) -> None:
    write_sample(tmp_path / "pulled", dataset())
    given = source(tmp_path, {"twin.jpg": street(3001, cones=4)[0], "wrong.jpg": street(98)[0]})
    (tmp_path / "mine.txt").write_text("wrong.jpg\n")
    with pytest.raises(DataError, match="1 of its pictures"):
        check(given.model_copy(update={"left_out": tmp_path / "mine.txt"}), tmp_path)
    assert (tmp_path / "work" / "duplicates.txt").read_text() == "twin.jpg\nwrong.jpg\n"


@pytest.mark.parametrize(
    "seeds",
    [
        # other streets; pictures that are trained on anyway
        [97, 98],
        [1, 3],
    ],
)
def test_other_pictures_pass(seeds: list[int], tmp_path: Path) -> None:
    write_sample(tmp_path / "pulled", dataset())
    check(source(tmp_path, {f"{seed}.jpg": street(seed, cones=4)[0] for seed in seeds}), tmp_path)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    given = source(tmp_path, {"a.jpg": street(1)[0]})
    with pytest.raises(DataError, match=r"none\.txt: the list of detect\.coco\.left_out cannot be read"):
        read_coco(given.annotations, given.images, tmp_path / "none.txt")
