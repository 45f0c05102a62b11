"""Parquet files with the columns, order and imbalance of natix-network-org/roadwork, filled with drawn streets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.drawn import encode, street

TEXTS = (
    "gps", "city_name", "scene_description", "video_info.frame_id", "video_info.vid_id", "scene_level_tags.daytime",
    "scene_level_tags.scene_environment", "scene_level_tags.travel_alteration", "scene_level_tags.weather",
)  # fmt: skip
FEATURES = {"info": {"features": {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}}}


def schema() -> Any:
    """All columns of the card, dots in their names."""
    import pyarrow as pa

    image = ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    whole = [(name, pa.int64()) for name in ("id", "width", "height", "license", "date_captured", "video_info.seq_id")]
    null = [(name, pa.float64()) for name in ("flickr_url", "coco_url")]
    return pa.schema([image, *whole, *null, *((name, pa.string()) for name in TEXTS), ("label", pa.int64())])


def frame(seed: int, label: int, drive: str | None, **columns: Any) -> dict[str, Any]:
    """One row; a picture that is labelled roadwork is described."""
    row = {
        "image": {"bytes": encode(street(seed, cones=4 * label)[0]), "path": f"{seed:06d}.jpg"},
        "id": seed,
        "video_info.vid_id": drive,
        "city_name": "boston",
        "scene_level_tags.daytime": "night" if seed % 2 else "day",
        "scene_level_tags.weather": "sunny",
        "scene_level_tags.scene_environment": "urban",
        "scene_level_tags.travel_alteration": "lane_shift" if label else "none",
        "scene_description": "Works close the right lane." if label else None,
        "label": label,
    }
    return {**row, **columns}


def write_shards(folder: Path, split: str, rows: Iterable[dict[str, Any]], shards: int = 2) -> None:
    """Write a split as the Hub has it, sorted by label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(rows, key=lambda row: row["label"])
    size = -(-len(ordered) // shards)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for number in range(shards):
        table = pa.Table.from_pylist(ordered[number * size : (number + 1) * size], schema())
        table = table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
        pq.write_table(table, folder / "data" / f"{split}-{number:05d}-of-{shards:05d}.parquet")


def write_natix(folder: Path, drives: int = 24, tests: int = 6, positives: int = 4) -> Path:
    """A small copy: five frames a drive, `positives` of them with works; every drive is seen with and without."""

    def rows(first: int, count: int, name: str) -> list[dict[str, Any]]:
        return [
            frame(5 * drive + index, int(index < positives), f"{name}_{drive:03d}")
            for drive in range(first, first + count)
            for index in range(5)
        ]

    write_shards(folder, "train", rows(0, drives, "train"), 3)
    write_shards(folder, "test", rows(1000, tests, "test"))
    return folder
