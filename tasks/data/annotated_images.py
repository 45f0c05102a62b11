"""Pictures with boxes, out of the project's parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import CLASSES
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError, read_records, split_file

if TYPE_CHECKING:
    from PIL import Image

HELD_OUT = ("calibration", "challenge")
COLUMNS = ["image", "label", "objects", "place", "sha256", "source"]


@dataclass(frozen=True)
class AnnotatedImage:
    """One picture and what is in it.

    Attributes:
        image: the image file's bytes, or where it lies: thousands of photographs do not fit into memory.
        key: names it in random numbers: the sha256 of its bytes, or of its name where it is a file.
        place: split key.
        label: 0 none, 1 roadwork.
        corners: (k, 4), x1, y1, x2, y2 in px.
        classes: (k,), indices into CLASSES.
        source: where it comes from: see `tasks.data.schema`.
    """

    image: bytes | Path
    key: str
    place: str
    label: int
    corners: NDArray[np.float64]
    classes: NDArray[np.int64]
    source: str = "real"

    def load(self) -> Image.Image:
        """Decode it to upright RGB."""
        data = self.image.read_bytes() if isinstance(self.image, Path) else self.image
        return decode_stored(data)


def read_annotated_images(paths: Sequence[Path], *, boxless: bool = False) -> list[AnnotatedImage]:
    """Read parquet files of `tasks.data.schema.arrow_schema`; a picture that came before is passed over.

    Roadwork pictures without any box are left out unless `boxless`: nobody has drawn boxes there, and they would teach
    that there are no objects. Clear pictures have none by definition.

    Raises:
        DataError: a file is missing, a box is of an unknown class, or no picture has boxes.
    """
    found: dict[str, AnnotatedImage] = {}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file; `dvc repro pull_data` writes data/pulled")
        for row in read_records(path, columns=COLUMNS):
            if row["objects"] or row["label"] == 0 or boxless:
                found.setdefault(row["sha256"], _picture(row, path))
    pictures = list(found.values())
    if not boxless and not any(len(picture.classes) for picture in pictures):
        names = ", ".join(map(str, paths))
        raise DataError(f"{names}: no picture has boxes, so there is nothing to train a detector on")
    return pictures


def places_of(files: Iterable[Path]) -> set[str]:
    """Places of the pictures of parquet files; a file that is missing has none."""
    rows = (row for path in files if path.is_file() for row in read_records(path, columns=["place"], batch=1024))
    return {row["place"] for row in rows}


def refuse_measured(places: Iterable[str], pulled: Path) -> None:
    """Raise a DataError where one of the places that are trained on is one that another split measures on."""
    measured = places_of(split_file(pulled, split) for split in HELD_OUT)
    mixed = sorted(set(places) & measured)
    if mixed:
        raise DataError(
            f"{len(mixed)} places are in train and in {' or '.join(HELD_OUT)}, {mixed[0]} the first of them"
        )


def _picture(row: dict[str, Any], path: Path) -> AnnotatedImage:
    corners, classes = boxes_of(row["objects"] or [], f"{path}: {row['sha256'][:12]}")
    return AnnotatedImage(row["image"]["bytes"], row["sha256"], row["place"], int(row["label"]), corners, classes, row["source"])


def boxes_of(objects: Iterable[dict[str, Any]], name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Turn `{"category", "bbox": [x, y, w, h]}` into corners (k, 4) and class indices (k,).

    Raises:
        DataError: an unknown category, or a box that is not four finite numbers of positive size.
    """
    corners, classes = [], []
    for item in objects:
        if item["category"] not in CLASSES:
            raise DataError(f"{name}: class {item['category']!r} is not one of {', '.join(CLASSES)}")
        box = np.asarray(item["bbox"], dtype=np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= 0).any():
            raise DataError(f"{name}: {item['bbox']} is no box of x, y, width, height")
        corners.append([*box[:2], *(box[:2] + box[2:])])
        classes.append(CLASSES.index(item["category"]))
    return np.array(corners, dtype=np.float64).reshape(-1, 4), np.array(classes, dtype=np.int64)
