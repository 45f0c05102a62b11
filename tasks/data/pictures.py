"""Pictures out of our own parquet files and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.preprocess.image import decode

if TYPE_CHECKING:
    from PIL import Image

ANY_SIZE = 1 << 40


def decode_stored(data: bytes) -> Image.Image:
    """Decode a picture to upright RGB, without the limits on its size: those held when it was pulled or mined.

    Args:
        data: the image file's bytes.

    Raises:
        cascade.preprocess.image.BadImage: the bytes do not decode.
    """
    return decode(data, max_pixels=ANY_SIZE, min_side=1)
