"""The chunks of a PNG file that its pixels need: texts, colour profiles and the like may be huge or damaged."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# length, name and checksum around a chunk's content
FRAME_BYTES = 12
# the fifth bit of a name's first letter marks a chunk that a decoder may pass over (PNG 3rd edition, section 5.4)
ANCILLARY = 0x20


@dataclass(frozen=True)
class Parts:
    """A PNG file taken apart.

    Attributes:
        pixels: a file of the chunks that no decoder may pass over.
        exif: the content of chunk eXIf; empty where there is none that is sound.
        frames: pictures that play one after the other; 1 for a still one.
    """

    pixels: bytes
    exif: bytes
    frames: int


def take_apart(data: bytes) -> Parts:
    """Copy the critical chunks as they are, up to the end of the image; what breaks off is copied as far as it goes."""
    kept, position, block, frames = [data[:8]], len(SIGNATURE), b"", 1
    has_pixels = False
    while position + FRAME_BYTES <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + FRAME_BYTES + length
        if end > len(data):
            break
        if not name[0] & ANCILLARY:
            kept.append(data[position:end])
            has_pixels |= name == b"IDAT"
        elif name == b"eXIf" and _is_sound(data, position, end):
            block = block or data[position + 8 : end - 4]
        elif name == b"acTL" and length >= 4 and not has_pixels and _is_sound(data, position, end):
            frames = max(struct.unpack_from(">I", data, position + 8)[0], 1)
        position = end
        if name == b"IEND":
            return Parts(b"".join(kept), block, frames)
    return Parts(b"".join([*kept, data[position:]]), block, frames)


def _is_sound(data: bytes, start: int, end: int) -> bool:
    """A chunk that may be passed over counts as missing where its checksum is wrong."""
    return bool(zlib.crc32(data[start + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0])
