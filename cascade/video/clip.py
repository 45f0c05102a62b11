"""Clips: frames sampled from one, stage 1 over all of them, the later stages on the uncertain ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from cascade.config import ClipParams
from cascade.core.cascade import Cascade, Prediction
from cascade.core.executor import FOREVER
from cascade.core.router import NoEstimateError
from cascade.probability import CUT, Label, label_of
from cascade.stages.base import StageResult
from cascade.video.reader import open_clip
from cascade.video.sampling import ClipLimits

if TYPE_CHECKING:
    from PIL import Image

    from cascade.vlm.base import Clip

# frames decoded and predicted at once
GROUP = 16
# px; the later stages see no more of a frame, and a whole clip of larger ones would fill the memory
MAX_SIDE = 1280
# of the frames that were expected; an answer that rests on fewer sound ones is marked
ENOUGH = 0.5


class SampledClip(Protocol):
    """An opened clip, wherever it is decoded; see `cascade.video.reader.ClipReader`."""

    seconds: float
    expected: int

    @property
    def decoded(self) -> int:
        """Sound frames so far."""

    @property
    def damaged(self) -> int:
        """Packets and frames with errors so far."""

    def frames(self) -> Iterator[tuple[float, Image.Image]]:
        """Give the sampled frames with their times."""


Opener = Callable[[Path | bytes, ClipLimits], AbstractContextManager[SampledClip]]


class FrameCounts(BaseModel):
    """How much of a clip was seen.

    Attributes:
        expected: frames that sampling gives of the clip where nothing of it is damaged or missing.
        decoded: those that were predicted and are sound.
        damaged: packets and frames of the whole clip that could not be decoded, or only with errors.
    """

    model_config = ConfigDict(frozen=True)
    expected: int
    decoded: int
    damaged: int

    @property
    def enough(self) -> bool:
        """Whether at least half of the clip was seen without damage."""
        return self.decoded >= self.expected * ENOUGH

    @property
    def damage(self) -> str:
        """What of the clip was not seen, for people; empty where all of it was."""
        if self.decoded >= self.expected and not self.damaged:
            return ""
        warning = "" if self.enough else ", too few to tell what the rest shows"
        sound = f"{self.decoded} of {self.expected} frames are sound"
        return f"{sound}, {self.damaged} packets or frames damaged{warning}"


class FrameScore(BaseModel):
    """One frame of the timeline: seconds from the start, its own probability, and that pooled over its window."""

    model_config = ConfigDict(frozen=True)
    seconds: float
    probability: float
    pooled: float
    decided_by: str


class ClipPrediction(BaseModel):
    """The cascade's answer for a clip.

    Attributes:
        frame: the prediction of the frame that stands for the clip, with its trace.
        frame_seconds: where that frame is.
        clip_result: of the stage that took the uncertain frames as a clip; None where none did.
        timeline: every frame that was predicted.
        frames: how many were expected, decoded and damaged.
        complete: at least half of the expected frames were decoded; otherwise the rest may show anything.
    """

    model_config = ConfigDict(frozen=True)
    probability: float
    label: Label
    decided_by: str
    reason: str
    frame: Prediction
    frame_seconds: float
    clip_result: StageResult | None = None
    timeline: list[FrameScore]
    frames: FrameCounts
    complete: bool
    seconds: float
    milliseconds: float
    release: str


def limits_of(params: ClipParams, min_side: int = 32) -> ClipLimits:
    """Give the limits of section `clips` for the reader of clips."""
    return ClipLimits(
        frames_per_second=params.frames_per_second,
        max_pixels=params.max_pixels,
        max_seconds=params.max_seconds,
        max_bytes=params.max_bytes,
        max_frames=params.max_frames,
        min_side=min_side,
        max_side=MAX_SIDE,
    )


def predict_clip(
    cascade: Cascade,
    source: Path | bytes,
    params: ClipParams,
    *,
    min_side: int = 32,
    until: float = FOREVER,
    opener: Opener = open_clip,
) -> ClipPrediction:
    """Predict for a clip.

    Stage 1 alone runs on the sampled frames; a running median over `window` frames removes outliers, and the clip's
    probability is the `quantile` of it, so that works have to be in view for a while but not all the time. Where that
    is undecided, the later stages run on the undecided frames nearest to that quantile.

    Args:
        cascade: loaded.
        source: a file, or its content.
        params: limits and pooling.
        min_side: of a frame, px.
        until: of `time.monotonic()`; what is known by then is the answer.
        opener: opens and decodes it, in this process by default.

    Raises:
        BadImage: no clip, no video track, damaged before its first frame, or over a limit; its reason says which.
        NoEstimateError: no stage had an opinion about a frame in time.
    """
    begun = time.perf_counter()
    times: list[float] = []
    kept: list[Image.Image] = []
    answers: list[Prediction] = []
    with opener(source, limits_of(params, min_side)) as clip:
        for group in _groups(clip.frames()):
            images = [image for _, image in group]
            try:
                answers += cascade.predict(images, until, first_only=True)
            except NoEstimateError:
                if answers:
                    break  # the time was up; the frames before are the answer
                raise
            times += [seconds for seconds, _ in group]
            kept += images
            if time.monotonic() > until:
                break
        seen = FrameCounts(expected=max(clip.expected, clip.decoded), decoded=clip.decoded, damaged=clip.damaged)
        seconds = clip.seconds
    clip_result = _refine(cascade, params, times, answers, kept, until)
    return _pooled(params, times, answers, clip_result, seen, seconds, (time.perf_counter() - begun) * 1000)


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


def _refine(
    cascade: Cascade,
    params: ClipParams,
    times: Sequence[float],
    answers: list[Prediction],
    frames: Sequence[Image.Image],
    until: float,
) -> StageResult | None:
    """Where the clip is undecided, run the model for clips; without one, the whole cascade on the nearest frames.

    Returns:
        The result of the model for clips; None where it was not needed, is not there, or gave no estimate.
    """
    clip, smoothed, chosen = pool([answer.probability for answer in answers], params)
    if answers[chosen].stages[-1].verdict != "undecided" or time.monotonic() > until:
        return None
    open_ones = [index for index, answer in enumerate(answers) if answer.stages[-1].verdict == "undecided"]
    nearest = sorted(open_ones, key=lambda index: abs(smoothed[index] - clip))[: params.uncertain_frames]
    if clip_result := cascade.run_clip(_excerpt(times, frames, nearest), until):
        return clip_result
    for index, answer in zip(nearest, cascade.predict([frames[index] for index in nearest], until), strict=True):
        answers[index] = answer
    return None


def _excerpt(times: Sequence[float], frames: Sequence[Image.Image], chosen: Sequence[int]) -> Clip:
    """The uncertain frames in their order, and at what rate they come on average."""
    from cascade.vlm.base import Clip

    order = sorted(chosen)
    length = times[order[-1]] - times[order[0]] if order else 0.0
    return Clip(tuple(frames[index] for index in order), (len(order) - 1) / length if length else 1.0)


def _pooled(
    params: ClipParams,
    times: Sequence[float],
    answers: Sequence[Prediction],
    clip_result: StageResult | None,
    seen: FrameCounts,
    seconds: float,
    milliseconds: float,
) -> ClipPrediction:
    p, smoothed, chosen = pool([answer.probability for answer in answers], params)
    share = sum(one > CUT for one in smoothed) / len(smoothed)
    by, why = answers[chosen].decided_by, f"at {times[chosen]:.1f} s, {answers[chosen].reason}"
    if clip_result is not None and clip_result.probability is not None:
        p, by = clip_result.probability, clip_result.stage
        why = f"the {by} took the uncertain frames as a clip"
    timeline = [
        FrameScore(seconds=round(at, 3), probability=answer.probability, pooled=one, decided_by=answer.decided_by)
        for at, answer, one in zip(times, answers, smoothed, strict=True)
    ]
    return ClipPrediction(
        probability=p,
        label=label_of(p),
        decided_by=by,
        reason="; ".join(filter(None, [f"{share:.0%} of {len(times)} frames show roadwork", why, seen.damage])),
        frame=answers[chosen],
        frame_seconds=round(times[chosen], 3),
        clip_result=clip_result,
        timeline=timeline,
        frames=seen,
        complete=seen.enough,
        seconds=round(seconds, 3),
        milliseconds=round(milliseconds, 3),
        release=answers[chosen].release,
    )


def _groups(frames: Iterator[tuple[float, Image.Image]]) -> Iterator[list[tuple[float, Image.Image]]]:
    group: list[tuple[float, Image.Image]] = []
    for one in frames:
        group.append(one)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group
