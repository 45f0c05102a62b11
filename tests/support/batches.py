"""Mined batches as mining leaves them, of pictures that are a few letters each."""

from __future__ import annotations

from pathlib import Path

from tasks.common.files import sha256, sha256_file, write_json
from tasks.data.batches import BATCH, MANIFEST
from tasks.data.schema import ImageRow, arrow_schema

BOX = ({"category": "cone", "bbox": [1.0, 2.0, 3.0, 4.0]},)


def digest(name: str) -> str:
    """The sha256 of a picture of `write_batch`."""
    return sha256(name.encode())


def write_batch(folder: Path, *names: str, label: int = -1) -> Path:
    """A batch as mining leaves it: labels of -1, digests in the manifest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        ImageRow(name.encode(), f"{name}.jpg", label, digest(name), "place", source="mined", objects=BOX)
        for name in names
    ]
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row.to_record() for row in rows], schema=arrow_schema()), folder / BATCH)
    write_json(folder / MANIFEST, {"files": {BATCH: sha256_file(folder / BATCH)}})
    return folder
