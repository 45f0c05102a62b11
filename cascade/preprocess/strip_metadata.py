"""Pictures without what came along: EXIF, GPS, XMP, comments, thumbnails, a phone's video behind the last byte."""

from __future__ import annotations

import io

from cascade.preprocess import exif
from cascade.preprocess.image import decode
from cascade.preprocess.jpeg import take_apart

QUALITY = 95


def strip(data: bytes, *, max_pixels: int, min_side: int) -> bytes:
    """Give a picture as a JPEG file that holds its pixels and nothing else.

    A JPEG that lies upright keeps its compressed pixels bit by bit, so that a model sees what it saw; every other
    picture is decoded, turned upright and written as JPEG of quality 95.

    Args:
        data: an image file.
        max_pixels: as for `decode`.
        min_side: as for `decode`.

    Raises:
        BadImage: it cannot be decoded, or is beyond the limits.
    """
    if data.startswith(b"\xff\xd8"):
        parts = take_apart(data)
        if parts.is_complete and exif.orientation(parts.exif) == exif.UPRIGHT:
            return parts.pixels
    buffer = io.BytesIO()
    decode(data, max_pixels=max_pixels, min_side=min_side).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return take_apart(buffer.getvalue()).pixels
