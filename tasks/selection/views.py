"""The views on which stages are compared: some pictures of a split at the validators' levels of degradation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tasks.common.files import sha256
from tasks.data.pictures import decode_stored
from tasks.data.schema import DataError, read_records
from tasks.data.views import LEVELS, View, make_view


@dataclass(frozen=True)
class StageView:
    """One view of one picture.

    Attributes:
        key: sha256 of the picture's file.
        label: 0 clear, 1 roadwork.
        place: split key.
        level: of degradation.
        pixels: RGB, size x size px.
        source: where the picture comes from.
    """

    key: str
    label: int
    place: str
    level: int
    pixels: Image.Image
    source: str = ""


def stage_views(path: Path, *, images: int, views: int, seed: int, size: int) -> list[StageView]:
    """Choose pictures of a split and make their views.

    Args:
        path: parquet file of the split.
        images: number of pictures, at most; labels alternate, in an order that the seed mixes.
        views: levels per picture; with fewer than all, the levels go round from picture to picture.
        seed: of the order and of the views.
        size: px a side.

    Raises:
        DataError: the split lacks a class.
    """
    rows = {row["sha256"]: row for row in read_records(path, ["sha256", "label", "place", "source"])}
    chosen = _alternating(rows, images, seed)
    pictures = {row["sha256"]: row["image"]["bytes"] for row in read_records(path) if row["sha256"] in chosen}
    made = []
    for number, key in enumerate(chosen):
        image = decode_stored(pictures[key])
        for turn in range(views):
            # two neighbours in the order have different labels, so the level changes after every two pictures
            view = View(LEVELS[(number // 2 + turn) % len(LEVELS)])
            pixels, _ = make_view(image, view, key=key, seed=seed, size=size)
            row, shown = rows[key], Image.fromarray(pixels)
            made.append(StageView(key, row["label"], row["place"], view.level, shown, row["source"]))
    return made


def views_digest(views: Sequence[StageView]) -> str:
    """Digest of the pixels of all views and of the pictures that they show."""
    digest = hashlib.sha256()
    for view in views:
        digest.update(f"{view.key} {sha256(view.pixels.tobytes())}\n".encode())
    return digest.hexdigest()


def _alternating(rows: Mapping[str, dict[str, Any]], images: int, seed: int) -> list[str]:
    """Keys of both labels by turns, then the rest of the more frequent label."""
    order = sorted(rows, key=lambda key: sha256(f"{seed}:{key}".encode()))
    both = [[key for key in order if rows[key]["label"] == label] for label in (0, 1)]
    if not all(both):
        raise DataError("the split needs pictures of both classes, so that stages can be compared")
    turns = [key for pair in zip(*both, strict=False) for key in pair]
    longer = max(both, key=len)
    return (turns + longer[len(turns) // 2 :])[:images]
