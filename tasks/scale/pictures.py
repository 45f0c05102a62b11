"""The pictures of a piece with their digests, held a shard at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cascade.config import RuntimeParams
from cascade.decoding.files import is_clip_file, read_file
from cascade.labelled.files import printable
from cascade.preprocess.image import BadImage
from cascade.video.containers import HEAD_BYTES, is_clip
from tasks.common.files import sha256_file
from tasks.data.schema import DataError
from tasks.scale.pieces import Piece

# held at once at most, whatever `shard_pictures` says, besides the picture that goes beyond it
HELD_BYTES = 64 * 2**20
# rows that are taken out of a parquet file at once, and bytes that are read of it
ROWS, READ_BYTES = 16, 1 << 20


@dataclass(frozen=True)
class Picture:
    """An image or a clip.

    Attributes:
        path: its file below the input's folder, or the parquet file it lies in.
        row: its number in the parquet file; None for a file of its own.
        name: what the row calls it.
        sha256: of its bytes; empty where they cannot be read.
        data: the bytes, or the file of a clip; None where it is refused.
        clip: whether it is one.
        refused: why it cannot be predicted; None where that is not known yet.
    """

    path: str
    row: int | None
    name: str
    sha256: str
    data: bytes | Path | None
    clip: bool = False
    refused: BadImage | None = None

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self.data) if isinstance(self.data, bytes) else 0

    @property
    def identity(self) -> str:
        """All that its row depends on, besides the release."""
        why = [self.refused.reason, str(self.refused)] if self.refused else []
        return json.dumps([self.path, self.row, self.name, self.sha256, *why])


def read_pictures(root: Path, piece: Piece, params: RuntimeParams) -> Iterator[Picture]:
    """Give a piece's pictures, one or a few at a time.

    Raises:
        DataError: the parquet file is damaged.
    """
    if piece.group is None:
        for name in piece.names:
            yield _of_file(root / name, printable(name), params)
        return
    yield from _of_group(root / piece.names[0], piece, params)


def shards(pictures: Iterable[Picture], most: int) -> Iterator[list[Picture]]:
    """Cut pictures into shards, by number and by bytes."""
    shard: list[Picture] = []
    held = 0
    for picture in pictures:
        shard.append(picture)
        held += picture.held
        if len(shard) == most or held >= HELD_BYTES:
            yield shard
            shard, held = [], 0
    if shard:
        yield shard


def _of_file(path: Path, name: str, params: RuntimeParams) -> Picture:
    try:
        if is_clip_file(path):
            return Picture(name, None, "", sha256_file(path), path, clip=True)
        data = read_file(path, params.serve.max_bytes)
    except BadImage as error:
        return Picture(name, None, "", "", None, refused=error)
    except OSError as error:
        refused = BadImage("unreadable", f"the file cannot be read: {error.strerror}")
        return Picture(name, None, "", "", None, refused=refused)
    return Picture(name, None, "", sha256(data).hexdigest(), data)


def _of_group(path: Path, piece: Piece, params: RuntimeParams) -> Iterator[Picture]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # without a buffer a whole row group is read at once; with one a page, of 1024 rows where pyarrow wrote them
        with pq.ParquetFile(path, buffer_size=READ_BYTES) as file:
            number = piece.first
            for batch in file.iter_batches(batch_size=ROWS, row_groups=[piece.group], columns=["image"]):
                for record in batch.to_pylist():
                    yield _of_row(record["image"], printable(piece.names[0]), number, params)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: row group {piece.group} cannot be read: {error}") from None


def _of_row(image: Any, path: str, number: int, params: RuntimeParams) -> Picture:
    data = image.get("bytes") if isinstance(image, dict) else image
    name = (image.get("path") if isinstance(image, dict) else None) or ""
    if data is None:
        return Picture(path, number, name, "", None, refused=BadImage("empty", "the row holds no image bytes"))
    digest, clip = sha256(data).hexdigest(), is_clip(data[:HEAD_BYTES])
    limit = params.serve.max_bytes
    if not clip and len(data) > limit:
        refused = BadImage("too_large", f"the picture is larger than {limit} bytes")
        return Picture(path, number, name, digest, None, refused=refused)
    return Picture(path, number, name, digest, data, clip)
