"""Clips: frames sampled from an mp4, stage 1 over all of them, the later stages on the uncertain ones."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import BaseModel, ConfigDict

from cascade.answer import FOREVER, Answer, Cascade
from cascade.config.budget import ClipParams
from cascade.image import BadImage
from cascade.router import CUT, Label, Outcome

if TYPE_CHECKING:
    from PIL import Image

    from cascade.judge import Clip

# the formats that are demuxed: mp4 and mov, and the two that browsers record
FORMATS = {"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm"}
SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv"}
# what the first bytes of such files say: an ISO box `ftyp` at 4, or EBML
ISO_MARK, EBML_MARK = b"ftyp", b"\x1a\x45\xdf\xa3"
# frames decoded and judged at once
GROUP = 16


class Moment(BaseModel):
    """One frame of the timeline: `seconds` from the start, what it was judged by itself, and pooled over its window."""

    model_config = ConfigDict(frozen=True)
    seconds: float
    probability: float
    pooled: float
    decided_by: str


class ClipAnswer(BaseModel):
    """The cascade's answer for a clip.

    Attributes:
        frame: the whole answer of the frame that the clip's answer rests on, with its trace.
        frame_seconds: where that frame is.
        watched: what the model for clips said of the uncertain frames, where it was asked.
        timeline: every frame that was looked at.
    """

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str
    frame: Answer
    frame_seconds: float
    watched: Outcome | None = None
    timeline: list[Moment]
    seconds: float
    milliseconds: float
    release: str


def is_clip(head: bytes) -> bool:
    """Whether a file's first bytes are those of a clip; pictures of the same container family (HEIC, AVIF) are not."""
    brand = head[8:12]
    picture = brand in (b"heic", b"heix", b"avif", b"mif1", b"msf1")
    return head.startswith(EBML_MARK) or (head[4:8] == ISO_MARK and not picture)


def answer_clip(
    cascade: Cascade, source: Path | bytes, params: ClipParams, *, min_side: int = 32, until: float = FOREVER
) -> ClipAnswer:
    """Answer for a clip.

    Stage 1 alone looks at the sampled frames; a running median over `window` frames removes single ones, and the
    clip's probability is the `quantile` of it, so that works need to be seen for a while but not all the time. Where
    that leaves stage 1 undecided, the whole cascade looks at the most telling frames around that quantile.

    Args:
        cascade: loaded.
        source: a file, or its content.
        params: limits and pooling.
        min_side: of a frame, px.
        until: of `time.monotonic()`; what is known by then is the answer.

    Raises:
        BadImage: no clip, no video track, damaged before its first frame, or over a limit; its reason says which.
    """
    begun = time.perf_counter()
    times: list[float] = []
    kept: list[Image.Image] = []
    answers: list[Answer] = []
    with _opened(source, params) as clip:
        for group in _groups(clip.frames(min_side)):
            images = [image for _, image in group]
            times += [seconds for seconds, _ in group]
            answers += cascade.answer(images, until, first_only=True)
            kept += [_small(image) for image in images]
            if time.monotonic() > until:
                break
        if not times:
            raise BadImage("truncated", "the clip is damaged: not one frame can be decoded")
        watched = _look_closer(cascade, params, times, answers, kept, until)
        return _pooled(params, times, answers, watched, clip.seconds, (time.perf_counter() - begun) * 1000)


def smooth(p: Sequence[float], window: int) -> list[float]:
    """Running median over an odd number of values; at the ends over those that there are."""
    import statistics

    half = window // 2
    return [statistics.median(p[max(0, i - half) : i + half + 1]) for i in range(len(p))]


def pool(p: Sequence[float], params: ClipParams) -> tuple[float, list[float], int]:
    """Give a clip's probability, its frames' smoothed ones, and the frame that stands for the clip."""
    smoothed = smooth(p, params.window)
    order = sorted(range(len(p)), key=lambda index: smoothed[index])
    # the nearest rank, so that one real frame stands for the clip
    chosen = order[round(params.quantile * (len(p) - 1))]
    return smoothed[chosen], smoothed, chosen


def _look_closer(
    cascade: Cascade,
    params: ClipParams,
    times: Sequence[float],
    answers: list[Answer],
    frames: Sequence[Image.Image],
    until: float,
) -> Outcome | None:
    """Where the clip is undecided, ask the model for clips; without one, the whole cascade about the nearest frames.

    Returns:
        What the model for clips saw; None where it was not needed, is not there, or has no opinion.
    """
    clip, smoothed, chosen = pool([answer.probability for answer in answers], params)
    if answers[chosen].stages[-1].outcome != "undecided" or time.monotonic() > until:
        return None
    open_ones = [index for index, answer in enumerate(answers) if answer.stages[-1].outcome == "undecided"]
    nearest = sorted(open_ones, key=lambda index: abs(smoothed[index] - clip))[: params.uncertain_frames]
    if watched := cascade.watch(_excerpt(times, frames, nearest), until):
        return watched
    for index, answer in zip(nearest, cascade.answer([frames[index] for index in nearest], until), strict=True):
        answers[index] = answer
    return None


def _excerpt(times: Sequence[float], frames: Sequence[Image.Image], chosen: Sequence[int]) -> Clip:
    """The uncertain frames in their order, and at what rate they come on average."""
    from cascade.judge import Clip

    order = sorted(chosen)
    length = times[order[-1]] - times[order[0]] if order else 0.0
    return Clip(tuple(frames[index] for index in order), (len(order) - 1) / length if length else 1.0)


def _pooled(
    params: ClipParams,
    times: Sequence[float],
    answers: Sequence[Answer],
    watched: Outcome | None,
    seconds: float,
    milliseconds: float,
) -> ClipAnswer:
    p, smoothed, chosen = pool([answer.probability for answer in answers], params)
    share = sum(one > CUT for one in smoothed) / len(smoothed)
    by, why = answers[chosen].decided_by, f"at {times[chosen]:.1f} s {answers[chosen].reason}"
    if watched is not None and watched.probability is not None:
        p, by, why = watched.probability, watched.stage, f"the {watched.stage} watched the uncertain frames"
    timeline = [
        Moment(seconds=round(at, 3), probability=answer.probability, pooled=one, decided_by=answer.decided_by)
        for at, answer, one in zip(times, answers, smoothed, strict=True)
    ]
    return ClipAnswer(
        probability=p,
        label="roadwork" if p > CUT else "clear",
        decided_by=by,
        reason=f"{share:.0%} of {len(times)} frames look like roadwork; {why}",
        frame=answers[chosen],
        frame_seconds=round(times[chosen], 3),
        watched=watched,
        timeline=timeline,
        seconds=round(seconds, 3),
        milliseconds=round(milliseconds, 3),
        release=answers[chosen].release,
    )


class _Clip:
    """An opened clip whose headers passed the limits."""

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

    def __enter__(self) -> _Clip:
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


def _opened(source: Path | bytes, params: ClipParams) -> _Clip:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if not size:
        raise BadImage("empty", "the file is empty")
    if size > params.max_bytes:
        raise BadImage("too_large", f"the clip is larger than {params.max_bytes} bytes")
    return _Clip(io.BytesIO(source) if isinstance(source, bytes) else source.open("rb"), params)


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


def _small(image: Image.Image, side: int = 1280) -> Image.Image:
    """A copy for the later stages that does not hold a whole clip of large frames in memory."""
    scale = side / max(image.size)
    return image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)))


def _groups(frames: Iterator[tuple[float, Image.Image]]) -> Iterator[list[tuple[float, Image.Image]]]:
    group: list[tuple[float, Image.Image]] = []
    for one in frames:
        group.append(one)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error).lower()
