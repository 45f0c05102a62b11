"""Packets of a clip: which track, when each frame is shown, and how far a damaged file can be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from cascade.preprocess.image import BadImage
from cascade.video.containers import READ, demuxer_of, other_clip
from cascade.video.sampling import ClipLimits

# no camera takes more frames a second; a file that lists more of them is made to keep a decoder busy
MAX_RATE = 300
# reading errors in a row after which the rest of a file is given up
MAX_ERRORS = 16


@dataclass(frozen=True)
class Timing:
    """When the frames of a clip are shown, by its packets: headers leave this out, or state it wrongly.

    Attributes:
        start: of the first frame, seconds of the file's own clock.
        times: of all frames, in order, seconds from the first one.
        seconds: from the first frame to the end of the last one.
        stated: the same by the header, 0 where it says nothing.
    """

    start: float
    times: tuple[float, ...]
    seconds: float
    stated: float


def name_demuxer(head: bytes) -> str:
    """Name FFmpeg's demuxer for a file that begins with `head`.

    Raises:
        BadImage: it is no clip, or one of a format that is not read.
    """
    if (name := demuxer_of(head)) is not None:
        return name
    if (other := other_clip(head)) is not None:
        raise BadImage("not_a_clip", f"clips of the format {other} are not read; send {READ}")
    raise BadImage("not_a_clip", f"the file is not a clip that can be read ({READ})")


def open_container(file: BinaryIO, demuxer: str, limits: ClipLimits) -> tuple[Any, Any]:
    """Give container and video track; nothing inside the file can make FFmpeg open another one.

    Raises:
        BadImage: the header is damaged, there is no video track, or its frames are over a limit.
    """
    import av

    file.seek(0)
    try:
        container = av.open(file, mode="r", format=demuxer, options={"protocol_whitelist": "none"})
    except (av.FFmpegError, ValueError) as error:
        raise BadImage("not_a_clip", f"the file is not a clip that can be read: {words(error)}") from None
    try:
        stream = _video(container)
        check_frame(stream.codec_context.width, stream.codec_context.height, limits)
    except BaseException:
        container.close()
        raise
    return container, stream


def _video(container: Any) -> Any:
    """The first video track that is no cover picture.

    Raises:
        BadImage: there is none, or no decoder for it.
    """
    from av.stream import Disposition

    tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    if not tracks:
        raise BadImage("no_video", "the clip has no video track")
    for track in tracks:
        if track.codec_context is not None:
            return track
    raise BadImage("unknown_codec", "the clip's video track is of a codec that cannot be read")


def check_frame(width: int, height: int, limits: ClipLimits) -> None:
    """Refuse frames of a size that is not read; 0 x 0, of a header that does not say, passes.

    Raises:
        BadImage: too large or too small.
    """
    if width * height > limits.max_pixels:
        raise BadImage("too_large", f"the clip is {width}x{height}; at most {limits.max_pixels} pixels are read")
    if 0 < min(width, height) < limits.min_side:
        raise BadImage("too_small", f"the clip is {width}x{height}; at least {limits.min_side} px a side")


def packets(container: Any, stream: Any, errors: list[Exception]) -> Iterator[Any]:
    """Give the track's packets; what cannot be read goes to `errors`, and reading goes on behind it."""
    import av

    in_a_row = 0
    while in_a_row <= MAX_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    in_a_row = 0
                    yield packet
        except av.FFmpegError as error:
            in_a_row += 1
            errors.append(error)
        else:
            return


def measure(container: Any, stream: Any, limits: ClipLimits) -> Timing:
    """Read every packet's time; nothing is decoded.

    Raises:
        BadImage: there is no packet, the clip is too long, or it lists more frames than a camera takes.
    """
    times, end = [], -math.inf
    first = math.inf
    for packet in packets(container, stream, []):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or packet.is_discard:
            continue
        at = float(stamp * packet.time_base)
        first, end = min(first, at), max(end, at + float((packet.duration or 0) * packet.time_base))
        times.append(at)
        if at - first > limits.max_seconds:
            most = f"at most {limits.max_seconds:g} s are read"
            raise BadImage("too_long", f"the clip lasts {at - first:.0f} s or more; {most}")
    if not times:
        raise BadImage("truncated", "the clip is damaged: its video track holds no packet")
    if len(times) > MAX_RATE * (end - first + 1):
        raise BadImage("too_many_frames", f"the clip lists {len(times)} frames for {end - first:.1f} s")
    relative = tuple(at - first for at in sorted(times))
    return Timing(first, relative, end - first, _stated_seconds(container, stream))


def _stated_seconds(container: Any, stream: Any) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska's counts from 0 of the file's clock, in microseconds here; live recordings state none
    return float((container.duration or 0) - max(container.start_time or 0, 0)) / 1e6


def words(error: Exception) -> str:
    """What FFmpeg says of an error, without the name of a file."""
    return str(getattr(error, "strerror", "") or error).lower()
