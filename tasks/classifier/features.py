"""Pictures of parquet files to features of their seeded views: what a stored feature depends on is in here.

The keys of data/features digest this module and all that it imports (`tasks.classifier.embedding`), so it imports no
more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.classifier.encoder import Encoder, device
from tasks.common.processes import in_order, worker_count
from tasks.config.data import EmbedParams
from tasks.data.pictures import decode_reduced
from tasks.data.schema import read_records
from tasks.data.views import Geometry, View, generator, make_view
from tasks.training.camera import as_another_camera, jitter

KeyedView = tuple[str, NDArray[np.uint8], NDArray[np.float16] | None]
COLUMNS = ["image", "label", "sha256", "objects"]
PATCH = 14  # px a side of a DINOv2 patch


@dataclass(frozen=True)
class SplitViews:
    """What is to be embedded of one split.

    Attributes:
        files: parquet files.
        views: of every picture.
        covers: whether the share of each patch under a labelled box is kept beside the features.
    """

    files: list[Path]
    views: list[View]
    covers: bool = False


@dataclass(frozen=True)
class Batch:
    """Views on their way to the backbone.

    Attributes:
        keys: "<sha256>/<view>", one a view.
        pixels: uint8 RGB, (batch, size, size, 3); rows beyond the keys are black.
        covers: share of each patch under a box, float16 (patches,), by key, for splits that ask for it.
    """

    keys: list[str]
    pixels: NDArray[np.uint8]
    covers: dict[str, NDArray[np.float16]]


@dataclass(frozen=True)
class _Piece:
    """A row of a parquet file, and which views of its picture are to be made."""

    row: dict[str, Any]
    views: list[View]
    covers: bool


def compute_features(
    params: EmbedParams, dtype: str, backbone: Path, splits: Mapping[str, SplitViews], done: Callable[[str], bool]
) -> Iterator[tuple[Batch, NDArray[Any]]]:
    """Compute the features of views, a batch at a time.

    Args:
        params: section `embed`.
        dtype: float32 or bfloat16.
        backbone: folder of the weights.
        splits: what is wanted.
        done: says of a key that its features are there.

    Yields:
        Each batch with its features, (batch, width): float16 for whole tokens, else float32.
    """
    processes = worker_count(params.processes, on_card=device() == "cuda")
    yield from Encoder(backbone, params, dtype)(ahead(view_batches(params, splits, done, processes)))


def view_batches(
    params: EmbedParams, splits: Mapping[str, SplitViews], done: Callable[[str], bool], processes: int = 0
) -> Iterator[Batch]:
    """Give batches of one shape, the last padded with black: a row's bits must not depend on who sits beside it."""
    keys: list[str] = []
    covers: dict[str, NDArray[np.float16]] = {}
    pixels = np.zeros((params.batch_size, params.size, params.size, 3), dtype=np.uint8)
    for key, picture, cover in _views(params, splits, done, processes):
        pixels[len(keys)] = picture
        keys.append(key)
        if cover is not None:
            covers[key] = cover
        if len(keys) == params.batch_size:
            yield Batch(keys, pixels, covers)
            keys, pixels, covers = [], np.zeros_like(pixels), {}
    if keys:
        yield Batch(keys, pixels, covers)


def _views(
    params: EmbedParams, splits: Mapping[str, SplitViews], done: Callable[[str], bool], processes: int
) -> Iterator[KeyedView]:
    """Key, pixels (size, size, 3) and cover (patches,) of each view that is not there yet."""
    pieces, make = _pieces(splits, done), partial(_made, params)
    for views in in_order(make, pieces, processes) if processes else map(make, pieces):
        yield from views


def _pieces(splits: Mapping[str, SplitViews], done: Callable[[str], bool]) -> Iterator[_Piece]:
    for split in splits.values():
        for row in (row for path in split.files for row in read_records(path, columns=COLUMNS)):
            new = [view for view in split.views if not done(f"{row['sha256']}/{view.name}")]
            if new:
                yield _Piece(row, new, split.covers)


def _made(params: EmbedParams, piece: _Piece) -> list[KeyedView]:
    """The views of one picture."""
    row, digest, found = piece.row, piece.row["sha256"], list[KeyedView]()
    decoded = decode_reduced(row["image"]["bytes"], params.decode_side)
    objects = _shrunk(row["objects"], decoded.reduced)
    for view in piece.views:
        image = _seen_by(decoded.image, view, params, digest)
        pixels, geometry = make_view(image, view, key=digest, seed=params.seed, size=params.size)
        cover = _cover(row["label"], objects, geometry, params.size // PATCH) if piece.covers else None
        found.append((f"{digest}/{view.name}", pixels, cover))
    return found


def _seen_by(image: Image.Image, view: View, params: EmbedParams, digest: str) -> Image.Image:
    """The picture as the camera of a view took it."""
    camera = params.other_camera
    if camera is None or not view.other_camera:
        return image
    random = generator(f"{params.seed}:{digest}:{view.sent}:camera")
    return as_another_camera(jitter(image, random, camera.colour_jitter), random, camera)


def _shrunk(objects: list[dict[str, Any]] | None, factor: int) -> list[dict[str, Any]]:
    """Boxes of a picture whose sides were divided by `factor` when it was decoded."""
    return [{**one, "bbox": [value / factor for value in one["bbox"]]} for one in objects or []]


def _cover(label: int, objects: list[dict[str, Any]], geometry: Geometry, cells: int) -> NDArray[np.float16]:
    """Where works are in a view, (cells * cells,): unknown (NaN) on a roadwork picture without boxes."""
    if label == 1 and not objects:
        return np.full(cells * cells, np.nan, dtype=np.float16)
    return geometry.coverage(objects, cells).astype(np.float16)


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make the next batch in a thread while the backbone works on this one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        future = pool.submit(next, batches, None)
        while (batch := future.result()) is not None:
            future = pool.submit(next, batches, None)
            yield batch
