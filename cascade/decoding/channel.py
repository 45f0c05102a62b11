"""A child process and the way to it: lines of JSON through pipes, files and pixels through memory that both hold."""

from __future__ import annotations

import json
import math
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.preprocess.image import BadImage

if TYPE_CHECKING:
    from PIL import Image

# memory that is kept from one picture to the next: 5 megapixels
KEPT_BYTES = 16 * 2**20
# what may come without a line's end before it counts as broken
MAX_LINE = 1_000_000
# a page that is touched anew costs more than the pixels in it: Pillow and the C library keep what a picture used, and
# FFmpeg's threads share two heaps
ALLOCATION = {
    "PILLOW_BLOCKS_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_ARENA_MAX": "2",
}
ROOT = Path(__file__).parents[2]
# how a process ends that used up its processor time
OVERTIME = (-signal.SIGPROF, -signal.SIGXCPU)


class LateError(RuntimeError):
    """The answer did not come in time."""


class OvertimeError(RuntimeError):
    """The processor time for a job was used up."""


class BrokenError(RuntimeError):
    """The process died, or answers nothing that can be understood."""


class Channel:
    """A decoding process; not for several threads at once."""

    def __init__(self, lane: str) -> None:
        self._given, self._pixels = os.memfd_create("given"), os.memfd_create("pixels")
        os.ftruncate(self._pixels, KEPT_BYTES)
        self._window = memoryview(mmap.mmap(self._pixels, KEPT_BYTES, prot=mmap.PROT_READ))
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cascade.decoding.worker", lane, str(self._given), str(self._pixels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=(self._given, self._pixels),
            env={**os.environ, **ALLOCATION, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdin is not None  # noqa: S101 - a pipe, as the next one
        assert self._process.stdout is not None  # noqa: S101
        self._jobs, self._answers = self._process.stdin, self._process.stdout
        self._received = b""
        self._is_open = True

    @property
    def is_alive(self) -> bool:
        """Whether it can take a job."""
        return self._is_open and self._process.poll() is None

    def give(self, data: bytes) -> None:
        """Lay a file where the process finds it."""
        os.ftruncate(self._given, len(data))
        os.pwrite(self._given, data, 0)

    def take(self, size: tuple[int, int], offset: int) -> Image.Image:
        """Pick up the pixels that the process laid down: RGB, one byte a value, row by row."""
        from PIL import Image

        end = offset + size[0] * size[1] * 3
        if not 0 <= offset < end <= os.fstat(self._pixels).st_size:
            raise BrokenError(f"the decoding process gave fewer than {end} bytes")
        if end <= KEPT_BYTES:
            return Image.frombytes("RGB", size, self._window[offset:end])
        with mmap.mmap(self._pixels, end, prot=mmap.PROT_READ) as shared, memoryview(shared) as pixels:
            image = Image.frombytes("RGB", size, pixels[offset:end])
        os.ftruncate(self._pixels, KEPT_BYTES)
        return image

    def send(self, line: str) -> None:
        """Send one line.

        Raises:
            BrokenError: the process is gone.
        """
        try:
            self._jobs.write(f"{line}\n".encode())
        except OSError as error:
            raise BrokenError(f"the decoding process is gone: {error}") from None

    def receive(self, until: float) -> dict[str, Any]:
        """Wait for one answer.

        Args:
            until: of `time.monotonic()`.

        Raises:
            BadImage: the process refused the file.
            LateError: see there.
            OvertimeError: see there.
            BrokenError: see there.
        """
        while b"\n" not in self._received:
            self._wait(until)
            more = os.read(self._answers.fileno(), 65536)
            if not more or len(self._received) > MAX_LINE:
                raise self._died()
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        answer = json.loads(line)
        if "refused" in answer:
            raise BadImage(answer["refused"], answer["message"])
        return dict(answer)

    def close(self, seconds: float = 0.0) -> None:
        """End the process, at once or when it has had time to do so by itself, and give its memory back."""
        if not self._is_open:
            return
        self._is_open = False
        self._jobs.close()
        with suppress(subprocess.TimeoutExpired):
            if seconds:
                self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
        self._answers.close()
        self._window.release()
        os.close(self._given)
        os.close(self._pixels)

    def _wait(self, until: float) -> None:
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        left = until - time.monotonic()
        if not poller.poll(None if left == math.inf else max(left * 1000, 0.0)):
            raise LateError

    def _died(self) -> OvertimeError | BrokenError:
        self._process.kill()
        code = self._process.wait()
        if code in OVERTIME:
            return OvertimeError()
        return BrokenError(f"the decoding process ended with {code}")
