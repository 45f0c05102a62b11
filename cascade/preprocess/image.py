"""Bytes to pixels, with the limits that come before decoding: the one door for service, command line and data pull.

Pillow sees only what the pixels need: of a JPEG or PNG file the tables and the compressed picture. Texts, profiles and
EXIF tags are not read, so that nothing they hold can end or change a decoding. The orientation is read on its own.
"""

from __future__ import annotations

import io
import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cascade.preprocess import exif, jpeg, png

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

# what cameras and web pages write; every further decoder is one more that strangers can feed
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
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
# how often a decoder may go over a JPEG: browsers give up at 100 (Skia, SkJpegCodec.cpp), encoders write about 10;
# fewer for a large picture, since each time costs about 1 ms a megapixel, even where it changes nothing
MAX_SCANS, FEWEST_SCANS, SCANNED_PIXELS = 100, 20, 600_000_000
# bits a value that cameras and converters put into 16; the smallest that holds all values of a picture is its range
DEPTHS = (8, 10, 12, 14, 16)
# upper bytes below this leave room for a smaller range
DARK = 64
log = logging.getLogger("streetvision")


class BadImage(ValueError):
    """An image that cannot be answered.

    Attributes:
        reason: one short word for machines: empty, not_an_image, truncated, too_large, too_small, animated,
            too_many_scans, or undecodable where nothing better is known.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """A picture, and what was odd about its file, for people.

    Attributes:
        reduced: how many times smaller than the file's the sides are: 1, or 2, 4 or 8 of a large JPEG.
    """

    image: Image.Image
    notes: tuple[str, ...] = ()
    reduced: int = 1


@dataclass(frozen=True)
class Opened:
    """A picture whose header passed the limits and whose pixels are not decoded yet."""

    image: Image.Image
    orientation: int
    data: bytes


def decode(data: bytes, *, max_pixels: int, min_side: int) -> Image.Image:
    """Decode an image file to upright RGB, 8 bits a channel.

    Size and format are judged from the header, so that a bomb costs nothing. The EXIF orientation is applied (that of
    XMP is not, as in browsers); CMYK, palette, grey and 16-bit pictures are converted; transparency is dropped, as the
    subnet's validators do.

    Args:
        data: the file's content.
        max_pixels: width times height, at most.
        min_side: the shorter side in pixels, at least.

    Raises:
        BadImage: its `reason` says what is wrong. Nothing else is raised, whatever the file holds.
    """
    return finish(open_image(data, max_pixels=max_pixels, min_side=min_side)).image


def open_image(data: bytes, *, max_pixels: int, min_side: int) -> Opened:
    """Do the first half of `decode`: all that needs no pixels."""
    if not data:
        raise BadImage("empty", "the file is empty")
    try:
        return _open(data, max_pixels, min_side)
    except BadImage:
        raise
    except Exception as error:
        raise _unknown(error) from None


def finish(opened: Opened, enough: int = 0) -> Decoded:
    """Do the second half of `decode`: the pixels, and what people should know about them.

    Args:
        opened: of `open_image`.
        enough: px; a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where its longer side keeps so many. 0: never.

    Raises:
        BadImage: as `decode`.
    """
    try:
        reduced = _reduce(opened.image, enough)
        layout = _layout(opened.image)
        _load(opened.image)
        image, notes = _to_rgb(opened, layout)
        return Decoded(_turned(image, opened.orientation), notes, reduced)
    except BadImage:
        raise
    except Exception as error:
        raise _unknown(error) from None


def _reduce(image: Image.Image, enough: int) -> int:
    """Have libjpeg compute fewer pixels of each block (its DCT scaling), and say by how much the sides shrink."""
    sides = (image.width, image.height)
    if not enough or image.format != "JPEG":
        return 1
    factor = next((factor for factor in (8, 4, 2) if max(sides) // factor >= enough and min(sides) >= factor), 1)
    if factor > 1:
        image.draft(image.mode, (sides[0] // factor, sides[1] // factor))
    return factor if image.size != sides else 1


def _unknown(error: Exception) -> BadImage:
    """What a decoder raises beyond what it should is a refusal too: one file must never end the work on others."""
    log.warning("an image cannot be decoded: %s: %s", type(error).__name__, error)
    return BadImage("undecodable", f"the image cannot be decoded ({type(error).__name__}: {error})")


def _open(data: bytes, max_pixels: int, min_side: int) -> Opened:
    scans, frames, block = 0, 1, b""
    if data.startswith(b"\xff\xd8"):
        parts = jpeg.take_apart(data)
        data, scans, block = parts.pixels, parts.scans, parts.exif
    elif data.startswith(png.SIGNATURE):
        chunks = png.take_apart(data)
        data, frames, block = chunks.pixels, chunks.frames, chunks.exif
    image = _identify(data)
    _check_size(image.size, max_pixels, min_side)
    _check_scans(image.size, scans)
    if frames > 1 or (image.format in ("GIF", "WEBP") and _is_animated(image)):
        raise BadImage("animated", "the image is animated; send one still picture")
    return Opened(image, exif.orientation(block or _webp_exif(image)), data)


def _identify(data: bytes) -> Image.Image:
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


def _check_size(size: tuple[int, int], max_pixels: int, min_side: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadImage("too_large", f"the image is {width}x{height}; at most {max_pixels} pixels are read")
    if min(width, height) < min_side:
        raise BadImage(
            "too_small", f"the image is {width}x{height}; the shorter side must be at least {min_side} pixels"
        )


def _check_scans(size: tuple[int, int], scans: int) -> None:
    most = min(MAX_SCANS, max(FEWEST_SCANS, SCANNED_PIXELS // (size[0] * size[1])))
    if scans > most:
        raise BadImage("too_many_scans", f"the JPEG has {scans} scans; at most {most} are read at {size[0]}x{size[1]}")


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except DECODE_ERRORS as error:
        raise BadImage("truncated", f"the image is damaged after its first frame: {error}") from None


def _webp_exif(image: Image.Image) -> bytes:
    """Pillow hands WebP's chunk on as it is; of other formats it has none left."""
    block = image.info.get("exif") if image.format == "WEBP" else None
    return block if isinstance(block, bytes) else b""


def _load(image: Image.Image) -> None:
    from PIL import ImageFile

    # some libraries switch this on for the whole process, and half a picture would pass as a grey street
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise BadImage("truncated", f"the image is truncated or damaged: {error}") from None


def _layout(image: Image.Image) -> str:
    """How values lie in the file, as Pillow calls it; known until the pixels are loaded."""
    tiles = getattr(image, "tile", None)
    return str(tiles[0].args) if tiles else ""


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    upright = image.transpose(turns[orientation]) if orientation in turns else image
    # nothing of the file's own words travels with the pixels
    upright.info = {}
    return upright


def _to_rgb(opened: Opened, layout: str) -> tuple[Image.Image, tuple[str, ...]]:
    image = opened.image
    if image.mode == "I;16" or layout in ("RGB;16B", "RGBA;16B"):
        return _from_sixteen_bits(opened, layout)
    return (image if image.mode == "RGB" else image.convert("RGB")), ()


def _from_sixteen_bits(opened: Opened, layout: str) -> tuple[Image.Image, tuple[str, ...]]:
    import numpy as np

    image = opened.image
    if image.mode == "I;16":
        return _narrow(np.asarray(image))
    if np.asarray(image)[..., :3].max() < DARK:
        return _narrow(_wide_colour(opened, layout))
    return image.convert("RGB"), ()


def _narrow(values: NDArray[np.uint16]) -> tuple[Image.Image, tuple[str, ...]]:
    """16 bits a channel to 8-bit RGB: Pillow's own conversion clips at 255 and turns a daylight picture white.

    Cameras write 10, 12 or 14 bits into 16 without scaling them; at 16 bits such a street would be black. One that
    reaches no quarter of its range is darker than any night with a lamp, so the bits in use are taken for the range.
    """
    import numpy as np
    from PIL import Image

    bits = next(depth for depth in DEPTHS if depth == DEPTHS[-1] or values.max() < 2**depth)
    table = np.clip(np.rint(np.arange(2**16) * (255 / (2**bits - 1))), 0, 255).astype(np.uint8)
    notes = () if bits == DEPTHS[-1] else (f"the file has 16 bits a value and uses {bits}: scaled by those",)
    return Image.fromarray(table[values]).convert("RGB"), notes


def _wide_colour(opened: Opened, layout: str) -> NDArray[np.uint16]:
    """All 16 bits of colour: Pillow keeps the upper byte of each, and the lower one where the order is turned."""
    import numpy as np

    lower = _identify(opened.data)
    lower.tile = [tile._replace(args=layout.replace("16B", "16L")) for tile in lower.tile]  # type: ignore[attr-defined]
    _load(lower)
    upper, rest = (np.asarray(image.convert("RGB"), dtype=np.uint16) for image in (opened.image, lower))
    return (upper << np.uint16(8)) | rest
