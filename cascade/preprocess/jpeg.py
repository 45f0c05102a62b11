"""The segments of a JPEG file that its pixels need; everything else may be damaged, personal or hostile."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from cascade.preprocess import exif

SOI, EOI, SOS, COM, TEM = 0xD8, 0xD9, 0xDA, 0xFE, 0x01
JFIF, APP1, ADOBE = 0xE0, 0xE1, 0xEE
APPLICATION = range(0xE0, 0xF0)
# a JFIF header without a thumbnail: length field, name, version, density, 0x0 pixels (JFIF 1.02)
JFIF_LENGTH = 16
# inside a scan 0xFF00 is data and 0xFFD0 to 0xFFD7 are restarts; anything else after 0xFF begins a segment
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


@dataclass(frozen=True)
class Parts:
    """A JPEG file taken apart.

    Attributes:
        pixels: a file that holds the frame, its tables and scans, and what tells the colour space.
        exif: the first EXIF segment's content; empty where there is none.
        scans: how often a decoder goes over the picture.
        is_complete: the end of the image was found.
    """

    pixels: bytes
    exif: bytes
    scans: int
    is_complete: bool


def take_apart(data: bytes) -> Parts:
    """Copy the segments that the pixels need (ITU T.81, annex B), up to the first end of image.

    The compressed pixels stay as they are, bit by bit. What breaks off is copied as far as it goes.
    """
    kept, position, block, scans = [data[:2]], 2, b"", 0
    while (found := MARKER.search(data, position)) is not None:
        marker, start = found[1][0], found.start()
        if marker == EOI:
            return Parts(b"".join([*kept, b"\xff\xd9"]), block, scans, True)
        if marker == TEM:  # the only other marker without a length
            position = start + 2
            continue
        end = _end(data, start)
        content = data[start + 4 : end]
        if marker == APP1 and not block and content.startswith(exif.PREFIX):
            block = content
        kept.append(_needed(marker, data[start:end]))
        position = end
        if marker == SOS:
            scans += 1
            position = _end_of_scan(data, end)
            kept.append(data[end:position])
    return Parts(b"".join(kept), block, scans, False)


def _end(data: bytes, start: int) -> int:
    if start + 4 > len(data):
        return len(data)
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    return min(start + 2 + max(length, 2), len(data))


def _end_of_scan(data: bytes, start: int) -> int:
    following = MARKER.search(data, start)
    return len(data) if following is None else following.start()


def _needed(marker: int, segment: bytes) -> bytes:
    """Frames, tables and scans are; of the application segments only those that tell a decoder the colour space."""
    if marker == JFIF:
        return _without_thumbnail(segment) if segment[4:9] == b"JFIF\0" and len(segment) >= 2 + JFIF_LENGTH else b""
    if marker == ADOBE:
        return segment if segment[4:9] == b"Adobe" else b""
    return b"" if marker in APPLICATION or marker == COM else segment


def _without_thumbnail(segment: bytes) -> bytes:
    return segment[:2] + struct.pack(">H", JFIF_LENGTH) + segment[4:16] + b"\0\0"
