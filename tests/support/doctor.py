"""Sets for tests of the dataset doctor: facts of pictures that were never decoded, and pictures without a fault."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from tasks.data.examine import Facts
from tasks.data.schema import ImageRow
from tests.support.drawn import dataset, encode, row, street


def facts(number: int, label: int, **given: Any) -> Facts:
    """One picture: its thumbnail is noise of its own, everything else says nothing about its label."""
    random = np.random.default_rng(number)
    values: dict[str, Any] = {
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "name": f"{number}.jpg",
        "label": label,
        "split": "",
        "place": f"place {number}",
        "source": "real",
        "origin": "a.parquet",
        "width": 640,
        "height": 480,
        "size": 40_000 + int(random.integers(0, 20_000)),
        "format": "JPEG",
        "camera": "",
        "thumbnail": random.integers(0, 255, (32, 32), dtype=np.uint8),
    }
    return Facts(**{**values, **given})


def sound_rows(per_split: dict[str, int] | None = None) -> list[ImageRow]:
    """Drawn streets whose files are of any size: at one quality, four cones more make a file larger."""
    random = np.random.default_rng(5)
    rows = []
    for number, one in enumerate(dataset(per_split)):
        image = street(number, cones=4 if one.label else 0)[0]
        data = encode(image, quality=int(random.integers(20, 96)))
        rows.append(row(number, one.label, one.split, data=data))
    return rows
