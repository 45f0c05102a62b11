"""Clips to feed the runtime: sound ones of any container, damaged ones, and ones made to keep a decoder busy."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import av
from PIL import Image

from tests.support import tiny

PIXELS = {"mjpeg": "yuvj420p", "png": "rgb24"}


class Live:
    """A file that can only be written, as a recorder's connection: a container cannot go back to note its length."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> int:
        self.content += bytes(data)
        return len(data)


def clip(
    tops: Sequence[tuple[int, int, int]],
    *,
    fps: int = 4,
    size: tuple[int, int] = (160, 120),
    apart: int = 1,
    codec: str = "mpeg4",
    container: str = "mp4",
    start: int = 0,
    live: bool = False,
) -> bytes:
    """A clip with one frame a colour.

    Args:
        tops: colours of the frames' upper halves.
        fps: frames a second.
        size: of a frame.
        apart: frames come this many times as far from one another.
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the format.
        start: frames that went before, of a camera that runs since then.
        live: the header states no duration.
    """
    target = Live() if live else io.BytesIO()
    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, PIXELS.get(codec, "yuv420p")
        for index, top in enumerate(tops):
            frame = av.VideoFrame.from_image(tiny.street(top, size=size))
            frame.pts = start + index * apart
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return bytes(target.content) if isinstance(target, Live) else target.getvalue()


def damaged(data: bytes, numbers: Sequence[int], container: str | None = None) -> bytes:
    """Overwrite some of a clip's video packets."""
    content = bytearray(data)
    with av.open(io.BytesIO(data), format=container) as opened:
        packets = [packet for packet in opened.demux(video=0) if packet.size]
        for number in numbers:
            start, length = packets[number].pos, packets[number].size
            content[start : start + length] = b"\xff" * length
    return bytes(content)


def without_ftyp(data: bytes) -> bytes:
    """A QuickTime file as older cameras write it: its first box is `wide`, as long as `ftyp` was."""
    length = struct.unpack(">I", data[:4])[0]
    return struct.pack(">I4s", 8, b"wide") + struct.pack(">I4s", length - 8, b"free") + data[16:]


def index_first(data: bytes) -> bytes:
    """An mp4 whose index stands before its pictures, as for the web; cut short, it still states its whole length."""
    pictures, index = data.index(b"mdat") - 4, data.index(b"moov") - 4
    moved = bytearray(data[index:])
    table = moved.index(b"stco") + 8
    for entry in range(struct.unpack_from(">I", moved, table)[0]):
        (offset,) = struct.unpack_from(">I", moved, table + 4 + 4 * entry)
        struct.pack_into(">I", moved, table + 4 + 4 * entry, offset + len(moved))
    return data[:pictures] + bytes(moved) + data[pictures:index]


def one_picture_many_times(side: int = 3000, samples: int = 150, timescale: int = 2_000_000_000) -> bytes:
    """A small mp4 that lists one PNG of `side` x `side` over and over, all within a fraction of a second."""
    picture = tiny.encoded(Image.new("RGB", (side, side), (90, 90, 90)), "PNG")
    kind = _box(b"ftyp", b"isom\0\0\2\0isommp41")
    unit = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    movie = struct.pack(">4IIH10x", 0, 0, timescale, samples, 0x10000, 0x100) + unit + bytes(24) + struct.pack(">I", 2)
    track = struct.pack(">5I16x", 0, 0, 1, 0, samples) + unit + struct.pack(">II", side << 16, side << 16)
    look = struct.pack(">6xH16xHHIIIH32sHh", 1, side, side, 0x480000, 0x480000, 0, 1, b"", 24, -1)
    table = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1) + _box(b"png ", look)),
        _full(b"stts", struct.pack(">3I", 1, samples, 1)),
        _full(b"stsc", struct.pack(">4I", 1, 1, 1, 1)),
        _full(b"stsz", struct.pack(">2I", len(picture), samples)),
        _full(b"stco", struct.pack(">I", samples) + struct.pack(">I", len(kind) + 8) * samples),
    )
    here = _box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", flags=1)))
    media = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">4IHH", 0, 0, timescale, samples, 0x55C4, 0)),
        _full(b"hdlr", struct.pack(">I4s12x", 0, b"vide") + b"v\0"),
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), here, table),
    )
    about = _box(b"moov", _full(b"mvhd", movie), _box(b"trak", _full(b"tkhd", track, flags=3), media))
    return kind + _box(b"mdat", picture) + about


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _full(kind: bytes, content: bytes = b"", *, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), content)
