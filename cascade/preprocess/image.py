"""Bytes to pixels, with the limits that come before decoding: the one door for service, command line and data pull."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

# what cameras and web pages write; every further decoder is one more that strangers can feed
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# a JPEG of several frames (MPO, as phones write it) is one picture and its thumbnails, so it is not among these
ANIMATED_FORMATS = {"GIF", "PNG", "WEBP"}
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)


class BadImage(ValueError):
    """An image that cannot be answered.

    Attributes:
        reason: one short word for machines: empty, not_an_image, truncated, too_large, too_small or animated.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode(data: bytes, *, max_pixels: int, min_side: int) -> Image.Image:
    """Decode an image file to upright RGB, 8 bits a channel.

    Size and format are judged from the header, so that a bomb costs nothing. EXIF rotation is applied; CMYK, palette,
    grey and 16-bit pictures are converted; transparency is dropped, as the subnet's validators do.

    Args:
        data: the file's content.
        max_pixels: width times height, at most.
        min_side: the shorter side in pixels, at least.

    Raises:
        BadImage: its `reason` says what is wrong.
    """
    if not data:
        raise BadImage("empty", "the file is empty")
    image = _open(data)
    _check_header(image, max_pixels, min_side)
    _load(image)
    return _to_rgb(_upright(image))


def _open(data: bytes) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limit; its warning is an exception where warnings are errors
        raise BadImage("too_large", f"the image is too large: {error}") from None
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise BadImage("not_an_image", f"the file is not an image that can be read ({known})") from None
    except DECODE_ERRORS as error:
        raise BadImage("truncated", f"the image's header is damaged: {error}") from None


def _check_header(image: Image.Image, max_pixels: int, min_side: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage("too_large", f"the image is {width}x{height}; at most {max_pixels} pixels are read")
    if min(width, height) < min_side:
        raise BadImage(
            "too_small", f"the image is {width}x{height}; the shorter side must be at least {min_side} pixels"
        )
    if image.format in ANIMATED_FORMATS and _is_animated(image):
        raise BadImage("animated", "the image is animated; send one still picture")


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except DECODE_ERRORS as error:
        raise BadImage("truncated", f"the image is damaged after its first frame: {error}") from None


def _load(image: Image.Image) -> None:
    from PIL import ImageFile

    # some libraries switch this on for the whole process, and half a picture would pass as a grey street
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise BadImage("truncated", f"the image is truncated or damaged: {error}") from None


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except (*DECODE_ERRORS, ZeroDivisionError):
        # broken EXIF beside sound pixels: the picture as it lies
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _narrow(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _narrow(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit RGB: Pillow's own conversion clips at 255 and turns a daylight picture white."""
    import numpy as np
    from PIL import Image

    grey = np.clip(np.rint(np.asarray(image, dtype=np.float64) / 257), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
