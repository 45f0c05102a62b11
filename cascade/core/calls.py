"""Calls that stand in line for a stage, and which of them may share a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from cascade.stages.base import StageResult

# deadlines of one batch lie so close together: the earliest of them holds for all of it
DEADLINE_SPREAD = 0.5


class Call:
    """The images of one caller, and what came of them.

    Attributes:
        images: of the caller.
        priors: one an image, or None.
        until: of `time.monotonic()`.
        changed: wakes this caller alone; its lock is that of the line.
        taken: it is part of a batch.
        ended: `results` or `error` are those of this call.
    """

    def __init__(
        self, images: Sequence[Image.Image], priors: Sequence[float] | None, until: float, changed: Condition
    ) -> None:
        self.images, self.priors, self.until, self.changed = images, priors, until, changed
        self.taken = self.ended = False
        self.results: list[StageResult] = []
        self.error: Exception | None = None

    def end(self, results: list[StageResult], error: Exception | None = None) -> None:
        """Keep what came of it."""
        self.results, self.error, self.ended = results, error, True


def count_images(calls: Iterable[Call]) -> int:
    """Images of all these calls."""
    return sum(len(call.images) for call in calls)


def fit_together(one: Call, other: Call) -> bool:
    """Whether two calls may share a batch."""
    both_or_none = (one.priors is None) == (other.priors is None)
    return both_or_none and (one.until == other.until or abs(one.until - other.until) <= DEADLINE_SPREAD)
