"""Micro-batching: calls of one stage that wait at the same time go through it together."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from threading import Condition, Lock
from typing import TYPE_CHECKING, Protocol

from cascade.core.calls import Call, count_images, fit_together
from cascade.core.memory import LoadError, MemoryLimitError
from cascade.core.timeouts import StageBusyError, StageTimeoutError

if TYPE_CHECKING:
    from PIL import Image

    from cascade.stages.base import StageResult

# how long a batch of several calls waits for more; a call that is alone waits for none
WINDOW_SECONDS = 0.002
# of `wait_seconds`, the stage's time limit, that a batch of several calls may be expected to take: on a machine that is
# slower than usual a full batch would run into the limit, and no caller would get an answer
SHARE = 0.25
# these concern the stage, not one image of the batch
OF_THE_STAGE = (StageTimeoutError, StageBusyError, MemoryLimitError, LoadError)


class Run(Protocol):
    """Runs a stage on one batch until a time of `time.monotonic()`."""

    def __call__(
        self, images: Sequence[Image.Image], priors: Sequence[float] | None, until: float
    ) -> list[StageResult]:
        """Give one result an image."""


class Batcher:
    """Puts concurrent calls of a stage together, so that few batches run at a time; for any number of threads.

    There is no thread of its own: the call at the head of the line runs the batch for those behind it, so that a
    caller who is alone pays one lock (leader and followers; D. Schmidt et al., Pattern-Oriented Software
    Architecture 2, 2000).

    Args:
        run: runs the stage.
        most: images of a batch.
        wait_seconds: seconds that a call stands in line at most.
        window: seconds that a batch of several calls waits for more.
        lanes: batches at a time. With two, the next batch is ready when the engine is done with one, whose answers
            are sent meanwhile.
    """

    def __init__(
        self, run: Run, most: int, wait_seconds: float = math.inf, window: float = WINDOW_SECONDS, lanes: int = 1
    ) -> None:
        self._run, self._most, self._wait_seconds, self._window = run, most, wait_seconds, window
        self._line: deque[Call] = deque()
        self._lanes, self._free, self._running = lanes, lanes, 0
        self._seconds_an_image = 0.0
        self._lock = Lock()

    def call(
        self, images: Sequence[Image.Image], priors: Sequence[float] | None = None, until: float = math.inf
    ) -> list[StageResult]:
        """Give the results of these images, one each.

        Args:
            images: at most `most`.
            priors: one an image, or None.
            until: of `time.monotonic()`; a call that is still in line then is dropped.

        Raises:
            StageTimeoutError: the time was up before the stage was free.
            StageBusyError: the stage was not free for `wait_seconds` seconds.
            Exception: what the stage raises on these images.
        """
        call = Call(images, priors, until, Condition(self._lock))
        if self._leads(call):
            self._lead()
        if call.error is not None:
            raise call.error
        return call.results

    def _leads(self, call: Call) -> bool:
        """Wait in line; True for the call that is to run the next batch, False for one that was part of another."""
        given_up = time.monotonic() + self._wait_seconds
        with self._lock:
            self._line.append(call)
            self._wake_head()
            while not call.ended:
                now = time.monotonic()
                if not call.taken and self._line[0] is call and self._may_start() and now < call.until:
                    self._free -= 1
                    return True
                left = math.inf if call.taken else min(call.until, given_up) - now
                if left <= 0:
                    raise self._leave(call)
                call.changed.wait(None if left == math.inf else left)
        return False

    def _may_start(self) -> bool:
        """Whether a lane is free, and a batch would not be a small one beside those that run."""
        return self._free == self._lanes or (self._free > 0 and self._waiting() >= self._running)

    def _leave(self, call: Call) -> StageTimeoutError | StageBusyError:
        self._line.remove(call)
        self._wake_head()
        if time.monotonic() >= call.until:
            return StageTimeoutError("the stage was busy with other images until the time was up")
        return StageBusyError("the stage was busy with other images for too long")

    def _wake_head(self) -> None:
        """The call at the head of the line may lead now, or has enough behind it."""
        if self._line:
            self._line[0].changed.notify()

    def _lead(self) -> None:
        batch: list[Call] = []
        try:
            batch = self._take()
            self._run_batch(batch)
        finally:
            with self._lock:
                self._free += 1
                self._running -= count_images(batch)
                for call in batch:
                    if not call.ended:
                        call.end([], RuntimeError("the batch was given up"))
                    call.changed.notify()
                self._wake_head()

    def _take(self) -> list[Call]:
        """Take the calls at the head of the line that fit together."""
        with self._lock:
            first, most = self._line[0], self._most_now()
            if len(self._line) > 1 and self._waiting() < most:
                # the lock is free meanwhile; each newcomer stands behind, and only the head may lead
                first.changed.wait_for(lambda: self._waiting() >= most, self._window)
            self._line.popleft()
            batch, count, now = [first], len(first.images), time.monotonic()
            while self._line and count + len(self._line[0].images) <= most and fit_together(first, self._line[0]):
                call = self._line.popleft()
                if call.until <= now:
                    call.end([], StageTimeoutError("the time was up before the stage was free"))
                    call.changed.notify()
                    continue
                batch.append(call)
                count += len(call.images)
            for call in batch:
                call.taken = True
            self._running += count
            # the next in line may lead another lane
            self._wake_head()
            return batch

    def _waiting(self) -> int:
        return count_images(self._line)

    def _most_now(self) -> int:
        """Images that go together: at the pace of the last batches, and spread evenly over several lanes."""
        most = self._most
        if self._seconds_an_image and self._wait_seconds < math.inf:
            most = min(most, int(self._wait_seconds * SHARE / self._seconds_an_image))
        if self._lanes > 1:
            most = min(most, math.ceil((self._waiting() + self._running) / self._lanes))
        return max(1, most)

    def _note_pace(self, seconds: float) -> None:
        self._seconds_an_image = seconds if not self._seconds_an_image else 0.7 * self._seconds_an_image + 0.3 * seconds

    def _run_batch(self, batch: list[Call]) -> None:
        images = [image for call in batch for image in call.images]
        priors = None if batch[0].priors is None else [prior for call in batch for prior in call.priors or ()]
        begun = time.monotonic()
        try:
            results = self._run(images, priors, min(call.until for call in batch))
            self._note_pace((time.monotonic() - begun) / max(1, len(images)))
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, OF_THE_STAGE):
                # one image may break a stage: each caller gets what comes of its own
                for call in batch:
                    self._run_batch([call])
                return
            for call in batch:
                call.end([], error)
            return
        start = 0
        for call in batch:
            call.end(results[start : start + len(call.images)])
            start += len(call.images)
