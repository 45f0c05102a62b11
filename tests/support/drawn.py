"""Small drawn streets for tests: grey road, houses, and cones where there are roadworks."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tasks.common.files import sha256
from tasks.data.schema import SLICES, ImageRow, arrow_schema, split_file

SIZE = (320, 240)
PER_SPLIT = {"train": 16, "calibration": 12, "pool": 4, "challenge": 8}


def street(seed: int, cones: int = 0) -> tuple[Image.Image, list[dict[str, Any]]]:
    """Draw a street with some cones; gives the picture and the cones' boxes."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", SIZE, tuple(int(v) for v in random.integers(150, 230, 3)))
    pen = ImageDraw.Draw(image)
    for x in range(0, SIZE[0], 40):
        top = int(random.integers(10, 100))
        pen.rectangle([x, top, x + 40, 130], fill=tuple(int(v) for v in random.integers(40, 180, 3)))
    pen.polygon([(130, 120), (190, 120), (320, 240), (0, 240)], fill=(90, 90, 95))
    boxes = []
    for _ in range(cones):
        x, y, h = int(random.integers(60, 240)), int(random.integers(130, 170)), int(random.integers(40, 65))
        pen.polygon([(x, y), (x + h // 2, y + h), (x - h // 2, y + h)], fill=(250, 95, 15))
        pen.rectangle([x - h // 6, y + h // 2, x + h // 6, y + 2 * h // 3], fill="white")
        boxes.append({"category": "cone", "bbox": [float(x - h // 2), float(y), float(h), float(h)]})
    return image, boxes


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Give the file's bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def row(seed: int, label: int, split: str = "", place: str = "", data: bytes | None = None) -> ImageRow:
    """One drawn picture as the readers give it."""
    image, boxes = street(seed, cones=4 if label else 0)
    data = encode(image, quality=90) if data is None else data
    slices = dict.fromkeys(SLICES, "") | {"time": "noon" if seed % 4 < 2 else "night"}
    place = place or f"place-{seed}"
    return ImageRow(data, f"{seed}.jpg", label, sha256(data), place, split, "", "rendered", tuple(boxes), slices)


def dataset(per_split: dict[str, int] | None = None) -> list[ImageRow]:
    """Every split, half of each with roadworks, one place a picture."""
    return [
        row(1000 * number + index, index % 2, split)
        for number, (split, count) in enumerate((per_split or PER_SPLIT).items())
        for index in range(count)
    ]


def write_parquet(path: Path, records: Iterable[dict[str, Any]], drop: Iterable[str] = ()) -> Path:
    """Write records as a parquet file, some columns left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(records), arrow_schema()).drop_columns(list(drop)), path)
    return path


def write_sample(folder: Path, rows: Iterable[ImageRow] | None = None) -> Path:
    """Write a folder like data/sample."""
    rows = list(rows if rows is not None else dataset())
    for split in PER_SPLIT:
        write_parquet(split_file(folder, split), [item.to_record() for item in rows if item.split == split])
    return folder
