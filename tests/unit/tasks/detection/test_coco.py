"""COCO files: ROADWork's classes become ours, and what does not fit is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.detection.boxes import CLASSES
from tasks.data.schema import DataError
from tasks.detection.coco import read_coco
from tests.support.drawn import encode, street

NAMES = ["Cone", "Tubular Marker", "Temporary Traffic Control Sign", "Work Vehicle", "Road", "Police Officer"]
DOCUMENT: dict[str, Any] = {
    "categories": [{"id": number + 1, "name": name} for number, name in enumerate(NAMES)],
    "images": [{"id": 7, "file_name": "pgh01_0001.jpg"}, {"id": 8, "file_name": "boston/002.jpg"}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [10, 20, 30, 40], "iscrowd": 0},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 5, 9]},
        # an area, and a crowd: neither is an object
        {"image_id": 7, "category_id": 5, "bbox": [0, 0, 100, 100]},
        {"image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2], "iscrowd": 1},
    ],
}


def dataset(folder: Path, **changes: Any) -> tuple[Path, Path]:
    images = folder / "images"
    (images / "boston").mkdir(parents=True)
    for name in ("pgh01_0001.jpg", "boston/002.jpg"):
        (images / name).write_bytes(encode(street(1)[0]))
    annotations = folder / "instances_train_gps_split.json"
    annotations.write_text(json.dumps({**DOCUMENT, **changes}))
    return annotations, images


def test_reads_boxes_under_our_names(tmp_path: Path) -> None:
    first, second = read_coco(*dataset(tmp_path))
    assert [CLASSES[index] for index in first.classes] == ["cone", "drum"]
    assert first.corners.tolist() == [[10, 20, 40, 60], [0, 0, 5, 9]]
    assert (first.label, second.label, len(second.classes)) == (1, 0, 0)
    assert first.load().size == (320, 240)
    assert first.key != second.key


def test_pictures_may_be_links_into_a_cache(tmp_path: Path) -> None:
    annotations, images = dataset(tmp_path)
    cache = tmp_path / "cache"
    cache.mkdir()
    (images / "pgh01_0001.jpg").rename(cache / "0123")
    (images / "pgh01_0001.jpg").symlink_to(cache / "0123")
    (images / "boston").rename(tmp_path / "elsewhere")
    (images / "boston").symlink_to(tmp_path / "elsewhere")
    assert [one.load().size for one in read_coco(annotations, images)] == [(320, 240)] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # COCO itself
        ({"categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]}, "class 'person' is unknown"),
        # annotations of a category that is not listed
        ({"categories": []}, "class '' is unknown"),
        # a part is missing
        ({"images": None}, "not a COCO file"),
        # a broken box
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 0, 4]}]}, "is no box"),
        # pictures elsewhere
        ({"images": [{"id": 7, "file_name": "gone.jpg"}]}, r"gone\.jpg is missing"),
        # a way out of the folder
        ({"images": [{"id": 7, "file_name": "../instances_train_gps_split.json"}]}, "leads out of"),
        ({"images": [{"id": 7, "file_name": "/etc/hostname"}]}, "leads out of"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_coco(*dataset(tmp_path, **changes))


@pytest.mark.parametrize("text", ["not json", "[]", "{}"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not a COCO file"):
        read_coco(path, tmp_path)
