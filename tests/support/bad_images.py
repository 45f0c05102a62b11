"""The bad input of issue 2, and the odd input that is sound: one table for the service and the command line."""

from __future__ import annotations

from PIL import Image

from tests.support import tiny

JPEG = tiny.encoded(tiny.street(tiny.ORANGE))

# by name: content, HTTP status and reason
BAD: dict[str, tuple[bytes, int, str]] = {
    "empty.jpg": (b"", 422, "empty"),
    "text.jpg": (b"a letter, not a street", 415, "not_an_image"),
    "truncated.jpg": (JPEG[: len(JPEG) // 2], 422, "truncated"),
    "animated.gif": (tiny.animation(), 422, "animated"),
    "one_pixel.png": (tiny.encoded(Image.new("RGB", (1, 1)), "PNG"), 422, "too_small"),
    "bomb.png": (tiny.bomb(), 413, "too_large"),
}

# by name: content and label
ODD: dict[str, tuple[bytes, str]] = {
    "cmyk.jpg": (tiny.encoded(tiny.street(tiny.ORANGE).convert("CMYK")), "roadwork"),
    "cmyk_clear.jpg": (tiny.encoded(tiny.street(tiny.BLUE).convert("CMYK")), "clear"),
    "sixteen_bit.png": (tiny.png16(tiny.street(tiny.ORANGE)), "roadwork"),
    "sixteen_bit_clear.png": (tiny.png16(tiny.street(tiny.BLUE)), "clear"),
    # orange above and blue below once it is upright; as it lies, both halves are half orange
    "sideways.jpg": (tiny.sideways(tiny.street(tiny.ORANGE, tiny.BLUE)), "roadwork"),
    "sideways_clear.jpg": (tiny.sideways(tiny.street(tiny.BLUE, tiny.ORANGE)), "clear"),
    "still.gif": (tiny.encoded(tiny.street(tiny.ORANGE), "GIF"), "roadwork"),
}
