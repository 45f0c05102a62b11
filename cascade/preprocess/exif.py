"""The one EXIF tag that changes pixels, read by itself: what the other tags hold cannot get in its way."""

from __future__ import annotations

import struct

UPRIGHT = 1
ORIENTATION = 0x0112
PREFIX = b"Exif\0"
# bytes before the TIFF header in APP1: the name, a null and a fill byte (Exif 2.32, section 4.7.2)
PREFIX_LENGTH = 6
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ENTRY_BYTES = 12
# TIFF types of whole numbers: BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG; the standard asks for SHORT, some cameras do not
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}


def orientation(block: bytes) -> int:
    """Read how a picture is to be turned.

    Only the entries of the first directory are looked at, as far as they are there, and no other tag's value is read.

    Args:
        block: a TIFF header with its directories, with or without the prefix of JPEG's APP1 segment.

    Returns:
        1 to 8 as in Exif 2.32, section 4.6.4; 1 (upright) where the tag is missing or holds nothing of the kind.
    """
    tiff = block[PREFIX_LENGTH:] if block.startswith(PREFIX) else block
    order = BYTE_ORDERS.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return UPRIGHT
    (stated,) = struct.unpack_from(f"{order}H", tiff, start)
    there = (len(tiff) - start - 2) // ENTRY_BYTES
    for index in range(min(stated, there)):
        if (value := _value(tiff, start + 2 + index * ENTRY_BYTES, order)) is not None:
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _value(tiff: bytes, entry: int, order: str) -> int | None:
    """The number that an entry holds; None unless it is the orientation, as one whole number."""
    tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
    if tag != ORIENTATION or kind not in INTEGERS or count != 1:
        return None
    return int(struct.unpack_from(f"{order}{INTEGERS[kind]}", tiff, entry + 8)[0])
