"""Frames of a clip at a given rate, as JPEG files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from PIL import Image

# suffix to demuxer: named, not guessed, since FFmpeg would take a playlist called .mp4 for one and open what it lists
VIDEOS = {".mp4": "mp4", ".mov": "mov", ".m4v": "mp4", ".mkv": "matroska", ".webm": "matroska", ".avi": "avi"}
QUALITY = 95


class ClipError(ValueError):
    """A clip, or the rest of one, that cannot be read.

    Attributes:
        reason: one short word for machines: not_a_clip, no_video, too_large or damaged.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def frames(clip: Path, rate: float, *, max_pixels: int) -> Iterator[tuple[float, bytes]]:
    """Decode a clip from its beginning and give `rate` frames a second of its own time, one at a time.

    Args:
        clip: a file with one of the suffixes VIDEOS.
        rate: frames a second; beyond the clip's own rate every frame is given.
        max_pixels: a stream of larger frames is refused before it is decoded.

    Yields:
        Seconds from the beginning, and the frame as an upright JPEG.

    Raises:
        ClipError: where it cannot go on; frames that were given before are sound.
    """
    import av

    demuxer = VIDEOS.get(clip.suffix.lower())
    if demuxer is None:
        raise ClipError("not_a_clip", f"{clip.suffix or 'no suffix'} is not one of {', '.join(VIDEOS)}")
    try:
        # by handle and demuxer: nothing inside the file can make FFmpeg open another file or address
        with clip.open("rb") as file, av.open(file, format=demuxer) as container:
            if not container.streams.video:
                raise ClipError("no_video", "the clip has no video track")
            stream = container.streams.video[0]
            _check(stream.codec_context.width, stream.codec_context.height, max_pixels)
            stream.thread_type = "AUTO"
            yield from _sample(container.decode(stream), rate, max_pixels)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, ClipError):
            raise
        raise ClipError("damaged", f"the clip cannot be decoded any further: {error}") from None


def _check(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ClipError("too_large", f"frames of {width}x{height}; at most {max_pixels} pixels are read")


def _sample(decoded: Iterator[VideoFrame], rate: float, max_pixels: int) -> Iterator[tuple[float, bytes]]:
    """The first frame at or after each multiple of 1/rate; a clip whose time starts late starts at 0 all the same."""
    start, taken = None, 0
    for frame in decoded:
        time = frame.time
        if time is None:
            continue
        start = time if start is None else start
        # a frame that lies a rounding error before its moment is that moment's frame
        if (time - start) * rate < taken - 1e-6:
            continue
        _check(frame.width, frame.height, max_pixels)
        taken = int((time - start) * rate + 1e-6) + 1
        yield float(time - start), _jpeg(_upright(frame))


def _upright(frame: VideoFrame) -> Image.Image:
    """Turned as the container says; phones write clips on their side."""
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    turn = frame.rotation % 360
    return image.rotate(turn, expand=True) if turn else image


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
