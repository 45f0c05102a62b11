"""Pictures out of our own parquet files and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.preprocess.image import Decoded, decode, finish, open_image

if TYPE_CHECKING:
    from PIL import Image

ANY_SIZE = 1 << 40


def decode_small(data: bytes, side: int) -> Image.Image:
    """Decode a picture to upright RGB of at least `side` px a side, or less where it is smaller.

    Of a JPEG libjpeg computes an eighth of the pixels, or as many as that needs, in about a tenth of the time.

    Args:
        data: the image file's bytes.
        side: px.

    Raises:
        cascade.preprocess.image.BadImage: the bytes do not decode.
    """
    opened = open_image(data, max_pixels=ANY_SIZE, min_side=1)
    opened.image.draft("RGB", (side, side))
    return finish(opened).image


def decode_stored(data: bytes) -> Image.Image:
    """Decode a picture to upright RGB, without the limits on its size: those held when it was pulled or mined.

    Args:
        data: the image file's bytes.

    Raises:
        cascade.preprocess.image.BadImage: the bytes do not decode.
    """
    return decode(data, max_pixels=ANY_SIZE, min_side=1)


def decode_reduced(data: bytes, enough: int | None) -> Decoded:
    """As `decode_stored`, but a JPEG at 1/2, 1/4 or 1/8 of its size where its longer side keeps `enough` px; None: never.

    Raises:
        cascade.preprocess.image.BadImage: the bytes do not decode.
    """
    return finish(open_image(data, max_pixels=ANY_SIZE, min_side=1), enough or 0)
