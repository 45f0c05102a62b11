"""Pictures with boxes: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cascade.detection.boxes import CLASSES
from tasks.data.annotated_images import boxes_of, read_annotated_images
from tasks.data.schema import DataError
from tests.support.drawn import row, write_parquet


@pytest.mark.parametrize(
    ("item", "words"),
    [
        # a class of another data set
        ({"category": "traffic light", "bbox": [0, 0, 5, 5]}, "class 'traffic light' is not one of cone"),
        # corners instead of width and height are not noticed, but a negative size is
        ({"category": "cone", "bbox": [9, 9, -3, 4]}, "is no box"),
        ({"category": "cone", "bbox": [0, 0, 0, 4]}, "is no box"),
        ({"category": "cone", "bbox": [0, 0, 4]}, "is no box"),
        ({"category": "cone", "bbox": [0, 0, float("nan"), 4]}, "is no box"),
    ],
)
def test_boxes_that_are_refused(item: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        boxes_of([item], "train.parquet: abc")


def test_read_pictures_leaves_out_roadworks_that_nobody_has_drawn_boxes_in(tmp_path: Path) -> None:
    clear, works, unknown = row(1, 0), row(2, 1), row(3, 1)
    records = [item.to_record() for item in (clear, works, unknown)]
    records[2]["objects"] = []
    path = write_parquet(tmp_path / "train.parquet", records)
    found = read_annotated_images([path, path])
    assert [(item.label, len(item.classes)) for item in found] == [(0, 0), (1, 4)]
    assert found[1].corners[0].tolist() == [
        works.objects[0]["bbox"][0],
        works.objects[0]["bbox"][1],
        works.objects[0]["bbox"][0] + works.objects[0]["bbox"][2],
        works.objects[0]["bbox"][1] + works.objects[0]["bbox"][3],
    ]
    assert {CLASSES[index] for index in found[1].classes} == {"cone"}


@pytest.mark.parametrize(
    ("rows", "words"), [(None, "no such file"), ([row(1, 0)], "no picture has boxes")], ids=["missing", "no boxes"]
)
def test_data_that_is_refused(tmp_path: Path, rows: Any, words: str) -> None:
    path = tmp_path / "train.parquet"
    if rows is not None:
        write_parquet(path, [item.to_record() for item in rows])
    with pytest.raises(DataError, match=words):
        read_annotated_images([path])
