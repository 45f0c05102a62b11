"""EXIF blocks with tags of any type, as cameras and editors really write them, and JPEG files that hold one."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

# TIFF 6.0, section 2: bytes a value and its letter for struct; 2 (text), 5 and 10 (fractions), 7 (anything) apart
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
LETTERS = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
ORIENTATION, X_RESOLUTION, SOFTWARE, EXIF_IFD, GPS_IFD = 0x0112, 0x011A, 0x0131, 0x8769, 0x8825
BYTE, TEXT, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_LONG, FLOAT, DOUBLE = 1, 2, 3, 4, 5, 7, 9, 11, 12
Entries = Mapping[int, tuple[int, Any]]


def block(
    first: Entries, *, exif: Entries | None = None, gps: Entries | None = None, order: str = "<", prefix: bytes = b""
) -> bytes:
    """Write a TIFF header and its directories.

    Args:
        first: entries of the first directory as {tag: (type, values)}; text and undefined values are bytes, fractions
            are pairs.
        exif: of the Exif directory below it.
        gps: of the GPS directory below it.
        order: of bytes, "<" or ">".
        prefix: what stands before the header.
    """
    below = [(tag, entries) for tag, entries in ((EXIF_IFD, exif), (GPS_IFD, gps)) if entries is not None]
    entries = {**first, **{tag: (LONG, [0]) for tag, _ in below}}
    position, rest = 8 + len(_directory(entries, 8, order)), b""
    for tag, content in below:
        entries[tag] = (LONG, [position])
        directory = _directory(content, position, order)
        position, rest = position + len(directory), rest + directory
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return prefix + header + _directory(entries, 8, order) + rest


def segment(content: bytes, prefix: bytes = b"Exif\0\0") -> bytes:
    """Wrap a block as JPEG's APP1 segment."""
    return b"\xff\xe1" + struct.pack(">H", len(prefix) + len(content) + 2) + prefix + content


def into_jpeg(jpeg: bytes, *segments: bytes) -> bytes:
    """Put segments behind a JPEG's first marker."""
    return b"".join([jpeg[:2], *segments, jpeg[2:]])


def xmp(orientation: int) -> bytes:
    """An XMP packet that states an orientation."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def _directory(entries: Entries, start: int, order: str) -> bytes:
    """A directory that stands at `start`, with the values that do not fit into its entries behind it."""
    head, data = struct.pack(f"{order}H", len(entries)), b""
    behind = start + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        kind, values = entries[tag]
        content = _values(kind, values, order)
        head += struct.pack(f"{order}HHI", tag, kind, len(content) // SIZES[kind])
        if len(content) <= 4:
            head += content.ljust(4, b"\0")
        else:
            head += struct.pack(f"{order}I", behind + len(data))
            data += content + b"\0" * (len(content) % 2)
    return head + bytes(4) + data


def _values(kind: int, values: Any, order: str) -> bytes:
    if kind in (TEXT, UNDEFINED):
        return bytes(values)
    flat: Sequence[Any] = [part for pair in values for part in pair] if kind in (RATIONAL, 10) else values
    return struct.pack(f"{order}{len(flat)}{LETTERS[kind]}", *flat)
