"""Write a batch: the folder that people review. Its manifest is written last, and after that nothing changes it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.common.files import new_folder, sha256, sha256_file, write_bytes, write_json
from tasks.data.batches import BATCH, MANIFEST, SHEET
from tasks.data.schema import SLICES, arrow_schema
from tasks.mining.pictures import batch_sheet

UNREVIEWED = -1


@dataclass(frozen=True)
class MinedImage:
    """One picture of a batch.

    Attributes:
        data: the file's bytes.
        place: split key.
        slices: what is known of time, weather and so on.
        facts: JSON values for the manifest: name, origin, reason and scores.
    """

    data: bytes
    place: str
    slices: dict[str, str]
    facts: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return sha256(self.data)

    def record(self) -> dict[str, Any]:
        """The row of batch.parquet, under the columns of `tasks.data.schema.arrow_schema`."""
        return {
            "image": {"bytes": self.data, "path": self.facts["name"]},
            "label": UNREVIEWED,
            "scene_description": "",
            "objects": [],
            "source": "mined",
            "place": self.place,
            "sha256": self.sha256,
            **{name: self.slices.get(name, "") for name in SLICES},
        }


def write(batch: Path, mined: Sequence[MinedImage], about: dict[str, Any]) -> dict[str, Any]:
    """Write a batch in one step.

    Args:
        batch: the folder; what a killed run left of it is replaced.
        mined: best first.
        about: further keys of the manifest, JSON values without times and paths.

    Returns:
        The manifest.
    """
    with new_folder(batch) as partial:
        _write_parquet(partial / BATCH, mined)
        batch_sheet([(one.data, _caption(rank, one)) for rank, one in enumerate(mined, 1)], partial / SHEET)
        files = {name: sha256_file(partial / name) for name in (BATCH, SHEET)}
        pictures = {one.sha256: {"rank": rank, **one.facts} for rank, one in enumerate(mined, 1)}
        manifest = {**about, "files": files, "pictures": pictures}
        write_json(partial / MANIFEST, manifest)
    return manifest


def _write_parquet(path: Path, mined: Sequence[MinedImage]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    table = pa.Table.from_pylist([one.record() for one in mined], schema=arrow_schema())
    pq.write_table(table, stream, compression="zstd", use_dictionary=["label", "source", "place", *SLICES])
    write_bytes(path, stream.getvalue())


def _caption(rank: int, one: MinedImage) -> str:
    return f"{rank}  p {one.facts['probability']:.2f}  {one.facts['reason']}"
