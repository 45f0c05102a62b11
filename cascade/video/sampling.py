"""Which frames of a clip are sampled, and how many of them a sound clip would give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

# a frame that lies a rounding error before its moment is that moment's frame
EPSILON = 1e-6
# a pause this many times the usual distance between frames is a hole, and no slow clip
HOLE = 8


@dataclass(frozen=True)
class ClipLimits:
    """What is read of a clip; the defaults are for a person's own recordings.

    Attributes:
        frames_per_second: that are sampled of the clip's own time.
        max_pixels: of a frame.
        max_seconds: a longer clip is refused.
        max_bytes: so is a larger file.
        max_frames: sampled of one clip; a long one is sampled more thinly.
        min_side: of a frame, px.
        max_side: larger frames are given smaller, px.
    """

    frames_per_second: float
    max_pixels: int
    max_seconds: float = math.inf
    max_bytes: float = math.inf
    max_frames: float = math.inf
    min_side: int = 1
    max_side: float = math.inf


class Sampler:
    """Takes the first frame at or after each moment; the moments lie `step` seconds apart."""

    def __init__(self, step: float) -> None:
        self.step, self.due = step, 0.0

    def is_due(self, seconds: float) -> bool:
        """Say whether the frame at this time is one to take."""
        return seconds + EPSILON >= self.due

    def take(self, seconds: float) -> None:
        """Move on to the next moment after a frame that was taken."""
        self.due = max(self.due + self.step, seconds + self.step / 2)


def expected_frames(times: Sequence[float], step: float, seconds: float, most: float) -> int:
    """Count the frames that sampling would take of the clip if all of it were there.

    Args:
        times: of the frames that the file holds, in order, the first at 0.
        step: between sampled frames, seconds.
        seconds: how long the clip is by its header, where that says more.
        most: that are sampled.
    """
    sampler, taken = Sampler(step), 0
    for at in _whole(times, step, seconds):
        if sampler.is_due(at):
            sampler.take(at)
            taken += 1
        if taken >= most:
            break
    return taken


def _whole(times: Sequence[float], step: float, seconds: float) -> Iterator[float]:
    """The times, and in holes those of frames that must have been there, no closer than the sampling needs them."""
    distances = [after - before for before, after in pairwise(times)]
    usual = median(distances) if distances else 0.0
    hole, apart = max(HOLE * usual, 2 * step), max(usual, step)
    # the last frame is shown for as long as the others
    last = seconds - usual
    points = [*times, last] if last - times[-1] > hole else times
    for before, after in pairwise(points):
        yield before
        if after - before > hole:
            for number in range(1, math.ceil((after - before) / apart)):
                yield before + number * apart
    yield points[-1]
