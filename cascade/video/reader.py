"""Frames of a clip: containers whose headers are checked before a frame is decoded, sampled evenly."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cascade.config import ClipParams
from cascade.preprocess.image import BadImage

if TYPE_CHECKING:
    from PIL import Image

# the formats that are demuxed: mp4 and mov, and the two that browsers record
FORMATS = {"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm"}
# what the first bytes of such files say: an ISO box `ftyp` at 4, or EBML
ISO_MARK, EBML_MARK = b"ftyp", b"\x1a\x45\xdf\xa3"


def is_clip(head: bytes) -> bool:
    """Whether a file's first bytes are those of a clip; pictures of the same container family (HEIC, AVIF) are not."""
    brand = head[8:12]
    picture = brand in (b"heic", b"heix", b"avif", b"mif1", b"msf1")
    return head.startswith(EBML_MARK) or (head[4:8] == ISO_MARK and not picture)


def open_footage(source: Path | bytes, params: ClipParams) -> Footage:
    """Open a clip, a file or its content, and check its headers.

    Raises:
        BadImage: empty, no clip, no video track, or over a limit; its reason says which.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if not size:
        raise BadImage("empty", "the file is empty")
    if size > params.max_bytes:
        raise BadImage("too_large", f"the clip is larger than {params.max_bytes} bytes")
    return Footage(io.BytesIO(source) if isinstance(source, bytes) else source.open("rb"), params)


class Footage:
    """An opened clip whose headers passed the limits; close it by leaving its `with`.

    Attributes:
        seconds: how long it is, as its header says; 0 where that says nothing.
        step: between sampled frames, seconds.
    """

    def __init__(self, stream: BinaryIO, params: ClipParams) -> None:
        import av

        self._file = stream
        try:
            # a playlist or a subtitle track could name other files; only plain containers are opened
            self._container: Any = av.open(stream, mode="r", options={"protocol_whitelist": "pipe,file"})
        except (av.FFmpegError, ValueError, EOFError) as error:
            stream.close()
            raise BadImage("not_a_clip", f"the file is not a clip that can be read: {_words(error)}") from None
        try:
            self._check(params)
        except BaseException:
            self.__exit__()
            raise
        self._params = params

    def __enter__(self) -> Footage:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    def _check(self, params: ClipParams) -> None:
        container = self._container
        if not set(container.format.name.split(",")) & FORMATS:
            raise BadImage("not_a_clip", f"clips of the format {container.format.name} are not read; send mp4 or webm")
        if not container.streams.video:
            raise BadImage("no_video", "the clip has no video track")
        self._stream = container.streams.video[0]
        width, height = self._stream.codec_context.width, self._stream.codec_context.height
        if width * height > params.max_pixels:
            raise BadImage("too_large", f"the clip is {width}x{height}; at most {params.max_pixels} pixels are read")
        self.seconds = _seconds(container, self._stream)
        if self.seconds > params.max_seconds:
            raise BadImage(
                "too_long", f"the clip lasts {self.seconds:.0f} s; at most {params.max_seconds:g} s are read"
            )
        self.step = max(1 / params.frames_per_second, self.seconds / params.max_frames)
        self._size = (width, height)

    def frames(self, min_side: int) -> Iterator[tuple[float, Image.Image]]:
        """Give the sampled frames as (seconds, upright RGB); a clip that breaks off ends there.

        Whatever the header said, no more than `max_frames` come, and none beyond `max_seconds`.
        """
        import av

        if min(self._size) < min_side:
            raise BadImage("too_small", f"the clip is {self._size[0]}x{self._size[1]}; at least {min_side} px a side")
        # where a frame depends on no other, others need not be decoded; slices are as good as frames here
        self._stream.thread_type = "AUTO"
        given, due = 0, 0.0
        try:
            for frame in self._container.decode(self._stream):
                at = float(frame.time or 0.0)
                if frame.width * frame.height > self._params.max_pixels:
                    raise BadImage("too_large", f"a frame of the clip is {frame.width}x{frame.height}")
                if given >= self._params.max_frames or at > self._params.max_seconds:
                    return
                if at + 1e-6 >= due:
                    yield at, _upright(frame)
                    given, due = given + 1, max(due + self.step, at + self.step / 2)
        except av.FFmpegError as error:
            # what came before is good
            if not given:
                raise BadImage("truncated", f"the clip is damaged: {_words(error)}") from None


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # in microseconds; a clip that states none is read until the limit
    return float(container.duration or 0) / 1e6


def _upright(frame: Any) -> Image.Image:
    """Pixels as the player shows them: phones store a turn (counter-clockwise degrees) beside the picture."""
    image: Image.Image = frame.to_image()
    turn = int(getattr(frame, "rotation", 0) or 0) % 360
    return image.rotate(turn, expand=True) if turn else image


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error).lower()
