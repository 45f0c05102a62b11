"""The pictures that image-to-image starts from, read when they are needed: all of them would not fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.pictures import decode_stored

if TYPE_CHECKING:
    from PIL import Image


class SourceImages:
    """Pictures of the train split by digest.

    Args:
        train: parquet file.
        size: width and height of the output, px.
    """

    def __init__(self, train: Path, size: tuple[int, int]) -> None:
        import pyarrow.parquet as pq

        self._file, self._size = pq.ParquetFile(train), size
        self._group = {
            digest: group
            for group in range(self._file.num_row_groups)
            for digest in self._file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
        }

    def picture(self, digest: str) -> Image.Image:
        """The picture with a digest, RGB, cut and scaled to the size of the output."""
        from PIL import Image, ImageOps

        rows = self._file.read_row_group(self._group[digest], columns=["image", "sha256"]).to_pylist()
        data = next(row["image"]["bytes"] for row in rows if row["sha256"] == digest)
        image = decode_stored(data)
        return ImageOps.fit(image, self._size, Image.Resampling.LANCZOS)
