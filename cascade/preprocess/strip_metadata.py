"""Pictures without what came along: EXIF, GPS, XMP, comments, thumbnails, a phone's video behind the last byte."""

from __future__ import annotations

import io
import re
import struct

from cascade.preprocess.image import DECODE_ERRORS, decode

EOI, SOS, COM = 0xD9, 0xDA, 0xFE
JFIF, ADOBE = 0xE0, 0xEE
APPLICATION = range(0xE0, 0xF0)
# a JFIF header that holds no thumbnail: length field, name, version, density, 0x0 pixels
JFIF_LENGTH = 16
# inside a scan 0xFF00 is data and 0xFFD0 to 0xFFD7 are restarts; anything else after 0xFF begins a segment
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
ORIENTATION = 0x0112
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
    if data[:2] == b"\xff\xd8" and _is_upright(data):
        try:
            return _pixels_only(data)
        except (ValueError, struct.error):
            pass  # odd enough to be written anew, if it decodes at all
    buffer = io.BytesIO()
    decode(data, max_pixels=max_pixels, min_side=min_side).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return _pixels_only(buffer.getvalue())


def _is_upright(data: bytes) -> bool:
    """Whether no tag turns the picture; broken EXIF turns nothing, as in `decode`."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return bool(image.getexif().get(ORIENTATION, 1) == 1)
    except (*DECODE_ERRORS, ZeroDivisionError):
        return True


def _pixels_only(data: bytes) -> bytes:
    """Copy the segments that the pixels need (ITU T.81, annex B), up to the first end of image.

    Raises:
        ValueError: the file ends before its picture does.
    """
    kept = [data[:2]]
    position = 2
    while (found := MARKER.search(data, position)) is not None:
        marker, start = found[1][0], found.start()
        if marker == EOI:
            return b"".join([*kept, b"\xff\xd9"])
        (length,) = struct.unpack_from(">H", data, start + 2)
        end = start + 2 + length
        if _is_needed(marker, data[start + 4 : end], length):
            kept.append(data[start:end])
        position = end
        if marker == SOS:
            position = _end_of_scan(data, end)
            kept.append(data[end:position])
    raise ValueError("no end of image")


def _end_of_scan(data: bytes, start: int) -> int:
    following = MARKER.search(data, start)
    if following is None:
        raise ValueError("the scan does not end")
    return following.start()


def _is_needed(marker: int, content: bytes, length: int) -> bool:
    """Frames, tables and scans are; of the application segments only those that tell a decoder the colour space."""
    if marker == JFIF:
        return content.startswith(b"JFIF\0") and length == JFIF_LENGTH
    if marker == ADOBE:
        return content.startswith(b"Adobe")
    return marker not in APPLICATION and marker != COM
