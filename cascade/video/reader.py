"""Frames of a clip: sampled evenly over all of it, the damaged ones passed over and counted."""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cascade.preprocess.image import BadImage
from cascade.video.containers import HEAD_BYTES
from cascade.video.demux import check_frame, measure, name_demuxer, open_container, packets
from cascade.video.sampling import EPSILON, ClipLimits, Sampler, expected_frames

if TYPE_CHECKING:
    from PIL import Image

MAX_THREADS = 4
# with threads that decode a frame each, one damaged frame spoils those of the others (libavcodec 62: 16 of 60, not 1)
NO_FRAME_THREADS = {"vp9"}
# where neither packets nor header tell
USUAL_RATE = 25.0
log = logging.getLogger("streetvision")


def open_clip(source: Path | bytes, limits: ClipLimits) -> ClipReader:
    """Open a clip, a file or its content, and check it against the limits.

    Raises:
        BadImage: empty, no clip, no video track, or over a limit; its reason says which. Nothing else is raised for
            what the file holds.
        OSError: the file cannot be read.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if not size:
        raise BadImage("empty", "the file is empty")
    if size > limits.max_bytes:
        raise BadImage("too_large", f"the clip is larger than {limits.max_bytes} bytes")
    file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    try:
        return ClipReader(file, limits)
    except BadImage:
        file.close()
        raise
    except Exception as error:
        file.close()
        raise _unknown(error) from None


class ClipReader:
    """An opened clip whose packets passed the limits; close it by leaving its `with`.

    Attributes:
        seconds: from its first frame to the end of its last one; 0 where the clip is not measured ahead.
        step: between sampled frames, seconds.
        expected: frames that sampling would give if nothing were damaged or missing; 0 where it is not measured.
        decoded: sound frames that were given so far.
        damaged: packets and frames so far that could not be decoded, or only with errors.
    """

    def __init__(self, file: BinaryIO, limits: ClipLimits) -> None:
        self._file, self._limits = file, limits
        self.seconds, self.step, self.expected = 0.0, 1 / limits.frames_per_second, 0
        self._start: float | None = None
        self._last = math.inf
        self._errors: list[Exception] = []
        self.decoded = self._corrupt = 0
        demuxer = name_demuxer(file.read(HEAD_BYTES))
        if limits.max_seconds < math.inf:
            # a whole drive of a person's own is not read twice; what strangers send is short
            self._plan(demuxer)
        self._container, self._stream = open_container(file, demuxer, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    @property
    def damaged(self) -> int:
        """See the class."""
        return len(self._errors) + self._corrupt

    def frames(self) -> Iterator[tuple[float, Image.Image]]:
        """Give the sampled frames as (seconds from the first one, upright RGB).

        Raises:
            BadImage: not one frame can be decoded, or a frame is over a limit.
        """
        given = 0
        try:
            for given, sampled in enumerate(self._sampled(), start=1):  # noqa: B007
                yield sampled
        except BadImage:
            raise
        except Exception as error:
            raise _unknown(error) from None
        if not given:
            raise BadImage("truncated", f"the clip is damaged: not one frame can be decoded ({self.damaged} errors)")

    def _plan(self, demuxer: str) -> None:
        container, stream = open_container(self._file, demuxer, self._limits)
        with container:
            timing = measure(container, stream, self._limits)
        self._start, self._last, self.seconds = timing.start, timing.times[-1], timing.seconds
        self.step = max(self.step, self.seconds / self._limits.max_frames)
        self.expected = expected_frames(timing.times, self.step, timing.stated, self._limits.max_frames)

    def _sampled(self) -> Iterator[tuple[float, Image.Image]]:
        sampler, given = Sampler(self.step), 0
        for at, frame in self._timed():
            if at > self._limits.max_seconds:
                return
            if not sampler.is_due(at) or (image := self._image(frame)) is None:
                continue
            sampler.take(at)
            self.decoded += not frame.is_corrupt
            yield at, image
            given += 1
            # frames behind the last one that is due cost time, and nothing comes of them
            if given >= self._limits.max_frames or sampler.due > self._last + EPSILON:
                return

    def _timed(self) -> Iterator[tuple[float, Any]]:
        """Every frame with its time from the first one; times that are missing follow from the rate."""
        base, pause = self._stream.time_base, 1 / float(self._stream.average_rate or USUAL_RATE)
        at = -pause
        for frame in self._decoded():
            # of the track's clock: frames that a decoder held back have none of their own
            time = None if frame.pts is None or base is None else float(frame.pts * base)
            if self._start is None:
                self._start = time or 0.0
            at = at + pause if time is None else max(time - self._start, 0.0)
            # it holds errors and is given as far as it goes, as players show it
            self._corrupt += bool(frame.is_corrupt)
            yield at, frame

    def _decoded(self) -> Iterator[Any]:
        """All frames that can be decoded; the last packets are followed by what the decoder held back."""
        context = self._stream.codec_context
        context.thread_type = "SLICE" if context.name in NO_FRAME_THREADS else "AUTO"
        context.thread_count = min(os.cpu_count() or 1, MAX_THREADS)
        # without it HEVC gives nothing between a damaged frame and the next key frame
        context.flags |= _output_corrupt()
        for packet in packets(self._container, self._stream, self._errors):
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(self._stream.codec_context.decode(packet))
        except av.FFmpegError as error:
            self._errors.append(error)
            return []

    def _image(self, frame: Any) -> Image.Image | None:
        """Pixels as a player shows them: phones store a turn (degrees, counter-clockwise) beside the picture."""
        check_frame(frame.width, frame.height, self._limits)
        try:
            image: Image.Image = frame.to_image()
            turn = round(frame.rotation / 90) * 90 % 360
        except (ValueError, OSError) as error:
            # a pixel format that cannot be converted
            self._errors.append(error)
            return None
        return _shrunk(image.rotate(turn, expand=True) if turn else image, self._limits.max_side)


def _output_corrupt() -> int:
    from av.codec.context import Flags

    return int(Flags.output_corrupt)


def _shrunk(image: Image.Image, side: float) -> Image.Image:
    scale = side / max(image.size)
    return image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)))


def _unknown(error: Exception) -> BadImage:
    """What FFmpeg's binding raises beyond what it should is a refusal too."""
    log.warning("a clip cannot be decoded: %s: %s", type(error).__name__, error)
    return BadImage("undecodable", f"the clip cannot be decoded ({type(error).__name__}: {error})")
