"""Bad input, and odd input that is sound: one table for service, command line, pull and mining."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from tests.support import exif, tiny

JPEG = tiny.encoded(tiny.street(tiny.ORANGE))
# orange above and blue below once it is upright; as it lies, both halves are half orange
LYING = tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE).transpose(Image.Transpose.ROTATE_90))
SIX = {exif.ORIENTATION: (exif.SHORT, [6])}


def slow_bitmap(ends: int = 12_000_000, side: int = 500) -> bytes:
    """A BMP that says so many times that its first row ends, which Pillow reads in Python: some seconds."""
    body = b"\0\0" * ends
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 256)
    return struct.pack("<2sIHHI", b"BM", 54 + 1024 + len(body), 0, 0, 54 + 1024) + header + bytes(1024) + body


def many_scans(times: int = 1000, size: tuple[int, int] = (400, 300)) -> bytes:
    """A progressive JPEG whose last scan is repeated: each time a decoder goes over the whole picture."""
    whole = tiny.encoded(tiny.street(tiny.ORANGE, size=size), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


def with_tags(tags: exif.Entries) -> bytes:
    """The lying picture with an EXIF block."""
    return exif.into_jpeg(LYING, exif.segment(exif.block({**SIX, **tags})))


# by name: content, HTTP status and reason
BAD: dict[str, tuple[bytes, int, str]] = {
    "empty.jpg": (b"", 422, "empty"),
    "text.jpg": (b"a letter, not a street", 415, "not_an_image"),
    "truncated.jpg": (JPEG[: len(JPEG) // 2], 422, "truncated"),
    "animated.gif": (tiny.animation(), 422, "animated"),
    "one_pixel.png": (tiny.encoded(Image.new("RGB", (1, 1)), "PNG"), 422, "too_small"),
    "bomb.png": (tiny.bomb(), 413, "too_large"),
    "scans.jpg": (many_scans(), 422, "too_many_scans"),
}

# by name: content and label
ODD: dict[str, tuple[bytes, str]] = {
    "cmyk.jpg": (tiny.encoded(tiny.street(tiny.ORANGE).convert("CMYK")), "roadwork"),
    "cmyk_clear.jpg": (tiny.encoded(tiny.street(tiny.BLUE).convert("CMYK")), "clear"),
    "sixteen_bit.png": (tiny.png16(tiny.street(tiny.ORANGE)), "roadwork"),
    "sixteen_bit_clear.png": (tiny.png16(tiny.street(tiny.BLUE)), "clear"),
    "sideways.jpg": (tiny.sideways(tiny.street(tiny.ORANGE, tiny.BLUE)), "roadwork"),
    "sideways_clear.jpg": (tiny.sideways(tiny.street(tiny.BLUE, tiny.ORANGE)), "clear"),
    "still.gif": (tiny.encoded(tiny.street(tiny.ORANGE), "GIF"), "roadwork"),
    # an orientation beside a resolution that is text, and beside a name of software that is a fraction
    "odd_resolution.jpg": (with_tags({exif.X_RESOLUTION: (exif.TEXT, b"72\0")}), "roadwork"),
    "odd_software.jpg": (with_tags({exif.SOFTWARE: (exif.RATIONAL, [(1, 3)])}), "roadwork"),
    # upright by EXIF, turned by XMP, which browsers do not read
    "xmp.jpg": (
        exif.into_jpeg(
            tiny.encoded(tiny.street(tiny.ORANGE, tiny.BLUE)),
            exif.segment(exif.xmp(3), b"http://ns.adobe.com/xap/1.0/\0"),
        ),
        "roadwork",
    ),
    "long_text.png": (
        tiny.png_with(
            tiny.encoded(tiny.street(tiny.ORANGE), "PNG"), (b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 3_000_000))
        ),
        "roadwork",
    ),
    "damaged_text.png": (
        tiny.png_with(tiny.encoded(tiny.street(tiny.BLUE), "PNG"), (b"tEXt", b"Comment\0cut"), sound=False),
        "clear",
    ),
    # colours of 12 bits: at 16 they are nearly black
    "twelve_bit.png": (tiny.png_rgb16(np.asarray(tiny.street(tiny.ORANGE)).astype(np.uint16) * 16), "roadwork"),
}
