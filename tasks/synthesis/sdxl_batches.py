"""A batch of painted pictures on disk: a JPEG and a JSON file each, in a folder that appears when all are whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import new_folder, read_json, sha256, write_bytes, write_json
from tasks.data.pictures import decode_stored
from tasks.data.schema import ImageRow
from tasks.synthesis.prompts import COLUMNS, ImageOrder, origin
from tasks.synthesis.work import SyntheticImage

if TYPE_CHECKING:
    from PIL import Image


def write_batch(
    folder: Path, batch: Sequence[ImageOrder], images: Sequence[Image.Image], facts: dict[str, Any], quality: int
) -> None:
    """Write the pictures of a batch in one step.

    Args:
        folder: of the batch.
        batch: orders, one a picture.
        images: RGB.
        facts: of the engine, see `tasks.synthesis.sdxl_weights.facts`.
        quality: of the JPEG files.
    """
    with new_folder(folder) as partial:
        for order, image in zip(batch, images, strict=True):
            _write(partial, order, image, facts, quality)


def read_batch(folder: Path, batch: Sequence[ImageOrder]) -> list[SyntheticImage] | None:
    """The pictures of a batch; None where it is not there or is damaged, so that it is painted again."""
    try:
        return [_picture(folder / f"{order.name}.jpg") for order in batch]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(folder: Path, order: ImageOrder, image: Image.Image, facts: dict[str, Any], quality: int) -> None:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    write_bytes(folder / f"{order.name}.jpg", buffer.getvalue())
    document = {"engine": "sdxl", **origin(order), **{k: v for k, v in facts.items() if k != "source"}}
    if order.source is None:
        del document["strength"]
    # pictures made from one place stay with it, so that a split by place holds for them too
    place = order.source.place if order.source else f"{order.name}-{order.seed}"
    write_json(folder / f"{order.name}.json", {"label": order.label, "place": place, "origin": document})


def _picture(path: Path) -> SyntheticImage:
    document, data = read_json(path.with_suffix(".json")), path.read_bytes()
    decode_stored(data)
    made = document["origin"]
    row = ImageRow(
        data=data,
        name=path.name,
        label=document["label"],
        sha256=sha256(data),
        place=document["place"],
        # NATIX's data has a description exactly where there are roadworks
        scene_description=made["prompt"] if document["label"] else "",
        source="sdxl",
        slices={name: made["attributes"][name] for name in COLUMNS},
    )
    return SyntheticImage(row, made)
