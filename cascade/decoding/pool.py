"""A few decoding processes, so that a file that takes for ever holds one of them for a while and nothing else.

Pictures and clips have processes of their own: a clip takes seconds, and no picture waits behind one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Self

from cascade.decoding.process import FOREVER, DecoderProcess, DecodingDeadlineError, RemoteClip
from cascade.preprocess.image import Decoded
from cascade.video.sampling import ClipLimits

PICTURES, CLIPS = "pictures", "clips"
# held for longer than this, a process is at work on something that no camera writes
HELD_SECONDS = 2.0


class DecodersBusyError(RuntimeError):
    """Every decoding process was busy until the time was up."""


class Decoders:
    """Decodes pictures and clips in processes that are started when they are first needed; for any number of threads.

    Args:
        pictures: processes for pictures.
        clips: processes for clips.
    """

    def __init__(self, pictures: int = 2, clips: int = 1) -> None:
        self.lanes = {PICTURES: Lane(PICTURES, pictures), CLIPS: Lane(CLIPS, clips)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start one process for pictures ahead of the first one."""
        self.lanes[PICTURES].start()

    def decode(
        self, data: bytes, *, max_pixels: int, min_side: int, enough: int = 0, until: float = FOREVER
    ) -> Decoded:
        """Decode a picture, as `cascade.preprocess.image.decode` does.

        Args:
            data: the file's content.
            max_pixels: see there.
            min_side: see there.
            enough: see `cascade.preprocess.image.finish`.
            until: of `time.monotonic()`.

        Raises:
            BadImage: as there, or the process was too slow or died of it.
            DecodersBusyError: see there.
            DecodingDeadlineError: see there.
        """
        with self.lanes[PICTURES].process(until) as process:
            return process.picture(data, max_pixels=max_pixels, min_side=min_side, enough=enough, until=until)

    @contextmanager
    def open_clip(self, source: Path | bytes, limits: ClipLimits, until: float = FOREVER) -> Iterator[RemoteClip]:
        """Open a clip, as `cascade.video.reader.open_clip` does.

        Raises:
            BadImage: as there, or the process was too slow or died of it.
            DecodersBusyError: see there.
            DecodingDeadlineError: see there.
        """
        with self.lanes[CLIPS].process(until) as process:
            clip = process.clip(source, limits, until)
            try:
                yield clip
            finally:
                clip.close()

    @property
    def is_stuck(self) -> bool:
        """Whether every process for pictures is held by one file for long; clips take long anyway."""
        return self.lanes[PICTURES].is_stuck

    def close(self) -> None:
        """End the processes; those at work end with their file."""
        for lane in self.lanes.values():
            lane.close()


class Lane:
    """The processes for one kind of file.

    Attributes:
        size: processes there may be.
        ended: how many had to be ended, by reason: too_slow, crashed, stopped.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.ended: Counter[str] = Counter()
        self._held: dict[int, float] = {}
        self._lock = threading.Lock()
        self._is_open = True
        self._idle: LifoQueue[DecoderProcess | None] = LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    @property
    def busy(self) -> int:
        """Processes that are at work."""
        return len(self._held)

    @property
    def is_stuck(self) -> bool:
        """Whether every process has been held by one file for long."""
        with self._lock:
            since = list(self._held.values())
        return len(since) >= self.size and time.monotonic() - max(since) > HELD_SECONDS

    def start(self) -> None:
        """Start one process, where none was started, and do not wait for it."""
        self._give_back(self._renewed(self._idle.get()))

    @contextmanager
    def process(self, until: float) -> Iterator[DecoderProcess]:
        """Lend a process for one file; one that it ends is replaced.

        Raises:
            DecodersBusyError: see there.
            DecodingDeadlineError: the time was up before one had started.
            BrokenError: it cannot be started.
        """
        process = self._borrow(until)
        with self._lock:
            self._held[id(process)] = time.monotonic()
        try:
            yield process
        finally:
            with self._lock:
                del self._held[id(process)]
            self._give_back(process)

    def close(self) -> None:
        """End the processes that are idle, and each other one when its file is done."""
        self._is_open = False
        while not self._idle.empty():
            if (process := self._idle.get_nowait()) is not None:
                process.close()

    def _borrow(self, until: float) -> DecoderProcess:
        left = until - time.monotonic()
        try:
            process = self._idle.get(timeout=None if left == math.inf else max(left, 0.0))
        except Empty:
            raise DecodersBusyError(f"all {self.size} decoders for {self.name} are busy") from None
        try:
            process = self._renewed(process)
            if process.wait_until_ready(until):
                return process
        except BaseException:
            self._idle.put(None)
            raise
        self._idle.put(process)
        raise DecodingDeadlineError(f"the time was up before a decoder for {self.name} had started")

    def _renewed(self, process: DecoderProcess | None) -> DecoderProcess:
        """Give the process, or another one where there is none or it died."""
        if process is not None and process.is_alive:
            return process
        if process is not None:
            process.close()
        return DecoderProcess(self.name)

    def _give_back(self, process: DecoderProcess) -> None:
        if process.ended is not None:
            self.ended[process.ended] += 1
        if process.is_alive and self._is_open:
            self._idle.put(process)
            return
        process.close()
        # started ahead, so that the next file does not wait for it
        self._idle.put(DecoderProcess(self.name) if self._is_open else None)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
