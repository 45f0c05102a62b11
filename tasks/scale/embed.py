"""Features of views on Ray: the row groups of parquet files go to actors, each with the backbone loaded once.

Batches have one shape and a row's bits do not depend on its neighbours (`tasks.classifier.features`), so the features
are those of a local run on the same kind of processor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tasks.classifier.embedding import Compute
from tasks.classifier.encoder import Encoder, device
from tasks.classifier.features import COLUMNS, Batch, SplitViews, ahead, compute_features, view_batches
from tasks.config.data import EmbedParams
from tasks.config.scale import ScaleParams
from tasks.data.schema import DataError
from tasks.data.views import View
from tasks.scale.engine import run_items

# rows of a parquet file that are held at once, and bytes that are read of it
ROWS, READ_BYTES = 64, 1 << 20
NO_PIXELS = np.zeros((0, 0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Part:
    """What of a row group is to be embedded.

    Attributes:
        path: parquet file.
        group: number of the row group.
        views: of every picture.
        covers: see `SplitViews`.
        wanted: "<sha256>/<view>" of the views that are not there yet.
    """

    path: Path
    group: int
    views: list[View]
    covers: bool
    wanted: frozenset[str]


class Embedder:
    """A worker: the backbone, and the features of one part after the other.

    Raises:
        DataError: it runs on another kind of device than the features are kept for.
    """

    def __init__(self, params: EmbedParams, dtype: str, backbone: Path, wanted: str) -> None:
        self._params, self._dtype, self._backbone, self._device = params, dtype, backbone, wanted

    def __enter__(self) -> Self:
        if (found := device()) != self._device:
            raise DataError(f"an actor runs on {found}, the caller on {self._device}: scale.gpus gives actors a card")
        self._encoder = Encoder(self._backbone, self._params, self._dtype)
        return self

    def __exit__(self, *_: object) -> None:
        del self._encoder

    def __call__(self, part: Part) -> Iterator[tuple[Batch, NDArray[Any]]]:
        """Give a part's batches without their pixels, and their features."""
        for batch, features in self._encoder(ahead(self._batches(part))):
            yield replace(batch, pixels=NO_PIXELS), features

    def _batches(self, part: Part) -> Iterator[Batch]:
        with tempfile.TemporaryDirectory() as folder:
            for path in _slices(part, Path(folder)):
                split = SplitViews([path], part.views, covers=part.covers)
                yield from view_batches(self._params, {"part": split}, lambda key: key not in part.wanted)


def features_on(scale: ScaleParams) -> Compute:
    """What computes features on this engine; it has the signature of `compute_features`, which is the local one."""
    return partial(_compute, scale) if scale.engine == "ray" else compute_features


def _compute(
    scale: ScaleParams,
    params: EmbedParams,
    dtype: str,
    backbone: Path,
    splits: Mapping[str, SplitViews],
    done: Callable[[str], bool],
) -> Iterator[tuple[Batch, NDArray[Any]]]:
    make = partial(Embedder, params, dtype, backbone.resolve(), device())
    yield from run_items(scale, make, list(_parts(splits, done)))


def _parts(splits: Mapping[str, SplitViews], done: Callable[[str], bool]) -> Iterator[Part]:
    """Read digests alone, and give the row groups with views that are not there yet."""
    import pyarrow.parquet as pq

    for split in splits.values():
        for path in split.files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    digests = file.read_row_group(group, columns=["sha256"])["sha256"].to_pylist()
                    keys = (f"{digest}/{view.name}" for digest in digests for view in split.views)
                    if wanted := frozenset(key for key in keys if not done(key)):
                        yield Part(path.resolve(), group, split.views, split.covers, wanted)


def _slices(part: Part, folder: Path) -> Iterator[Path]:
    """Files with some rows of the group each, one at a time, for `view_batches`, which reads files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(part.path, buffer_size=READ_BYTES) as file:
        for rows in file.iter_batches(batch_size=ROWS, row_groups=[part.group], columns=COLUMNS):
            pq.write_table(pa.Table.from_batches([rows]), folder / "rows.parquet", compression="none")
            yield folder / "rows.parquet"
