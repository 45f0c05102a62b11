"""Rows decoded once, on all cores: what the pull and the dataset doctor want to know of a picture."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade.decoding.pool import Decoders, cores
from cascade.labelled.files import picture_format
from cascade.preprocess.image import FORMATS, BadImage
from cascade.video.containers import HEAD_BYTES
from tasks.data.near_duplicates import thumbnail
from tasks.data.readers import Rejected
from tasks.data.schema import ImageRow

if TYPE_CHECKING:
    from PIL import Image

CHUNK = 64
MAKE, MODEL = 0x010F, 0x0110  # tags of EXIF 2.32, section 4.6.4


@dataclass(frozen=True)
class Facts:
    """What is known of a picture without its pixels.

    Attributes:
        width, height: px, upright.
        size: of the file, bytes.
        format: of the file, as Pillow calls it.
        camera: make and model out of its EXIF, or empty.
        thumbnail: grey, uint8 (32, 32).
    """

    sha256: str
    name: str
    label: int
    split: str
    place: str
    source: str
    origin: str
    width: int
    height: int
    size: int
    format: str
    camera: str
    thumbnail: NDArray[np.uint8] = field(repr=False)


Examined = tuple[ImageRow | Rejected, Facts | BadImage | None]


def examine(rows: Iterable[ImageRow | Rejected], *, max_pixels: int, min_side: int) -> Iterator[Examined]:
    """Decode rows on all cores, a chunk at a time, in their order.

    That is done in processes that can be ended: a file may be made to take for ever.

    Args:
        rows: of a reader.
        max_pixels: a larger picture is refused before it is decoded.
        min_side: px; so is one whose shorter side is less.

    Yields:
        Each row with its facts, the reason why it does not decode, or None for a rejected one.
    """

    def one(item: ImageRow | Rejected) -> Examined:
        if isinstance(item, Rejected):
            return item, None
        try:
            image = decoders.decode(item.data, max_pixels=max_pixels, min_side=min_side).image
            return item, _facts(item, image)
        except BadImage as error:
            return item, error

    stream, workers = iter(rows), cores()
    with Decoders(pictures=workers) as decoders, ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(stream, CHUNK)):
            yield from pool.map(one, chunk)


def _facts(row: ImageRow, image: Image.Image) -> Facts:
    return Facts(
        sha256=row.sha256,
        name=row.name,
        label=row.label,
        split=row.split,
        place=row.place,
        source=row.source,
        origin=row.origin,
        width=image.width,
        height=image.height,
        size=len(row.data),
        format=picture_format(row.data[:HEAD_BYTES]),
        camera=_camera(row.data),
        thumbnail=thumbnail(image),
    )


def _camera(data: bytes) -> str:
    """Make and model; what cannot be read counts as nothing said: EXIF of strangers has every type in every tag.

    Only the header is read: Pillow's `getexif` of a PNG would decode it.
    """
    from PIL import Image as pil

    try:
        with pil.open(io.BytesIO(data), formats=FORMATS) as image:
            tags = pil.Exif()
            tags.load(image.info.get("exif") or b"")
            return " ".join(str(tags.get(tag) or "").strip(" \0") for tag in (MAKE, MODEL)).strip()
    except Exception:
        return ""
