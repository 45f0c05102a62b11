"""The process that decodes: it imports nothing but what that needs, and may be ended at any time.

Messages are lines of JSON, jobs on standard input and answers on standard output. Files and pixels go through two files
in memory, whose numbers are on the command line. `cascade.decoding.process` is the other end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from cascade.preprocess.image import BadImage, finish, open_image

if TYPE_CHECKING:
    from PIL import Image

# the largest sound picture, 50 megapixels of 16 bits, takes about 1 GiB
MEMORY_BYTES = 4 * 2**30
# processor time for a picture: the slowest sound ones took 0.03 s a megapixel (PNG, 2.1 GHz)
PICTURE_SECONDS, SECONDS_A_MEGAPIXEL = 1.0, 0.1
# clips step aside for pictures, whose clients wait for less
CLIP_NICE = 10


class Worker:
    """Reads jobs and answers them, one at a time."""

    def __init__(self, jobs: TextIO, answers: TextIO, given: int, pixels: BinaryIO) -> None:
        self._jobs, self._answers = jobs, answers
        self._given, self._pixels = given, pixels

    def run(self) -> None:
        """Say that all is loaded, and work until the other end closes."""
        self._say(ready=True)
        for line in self._jobs:
            if not line.startswith("{"):
                continue  # a `stop` for a clip that had ended by itself
            job = json.loads(line)
            try:
                self._clip(job) if "limits" in job else self._picture(job)
            except BadImage as error:
                self._say(refused=error.reason, message=str(error))
            except OSError as error:
                self._say(refused="unreadable", message=f"the file cannot be read: {error.strerror}")

    def _picture(self, job: dict[str, Any]) -> None:
        with _processor_time(PICTURE_SECONDS):
            data = os.pread(self._given, job["bytes"], 0)
            opened = open_image(data, max_pixels=job["max_pixels"], min_side=job["min_side"])
        width, height = opened.image.size
        with _processor_time(PICTURE_SECONDS + SECONDS_A_MEGAPIXEL * width * height / 1e6):
            decoded = finish(opened, job["enough"])
            offset = self._put(decoded.image)
        self._say(size=decoded.image.size, offset=offset, notes=decoded.notes, reduced=decoded.reduced)

    def _clip(self, job: dict[str, Any]) -> None:
        from cascade.video.reader import open_clip
        from cascade.video.sampling import ClipLimits

        source = Path(job["path"] or f"/proc/self/fd/{self._given}")
        with open_clip(source, ClipLimits(**job["limits"])) as clip:
            self._say(seconds=clip.seconds, expected=clip.expected)
            for at, image in clip.frames():
                offset = self._put(image)
                self._say(at=at, size=image.size, offset=offset, decoded=clip.decoded, damaged=clip.damaged)
                if self._jobs.readline() != "next\n":
                    break
            self._say(decoded=clip.decoded, damaged=clip.damaged)

    def _put(self, image: Image.Image) -> int:
        """Lay the pixels down, and say where they begin: Pillow writes them as PPM without a copy in between."""
        self._pixels.seek(0)
        image.save(self._pixels, "PPM")
        return self._pixels.tell() - image.width * image.height * 3

    def _say(self, **message: Any) -> None:
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()


@contextmanager
def _processor_time(seconds: float) -> Iterator[None]:
    """End this process by SIGPROF once it has computed for so long; waiting for a busy machine does not count."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _prepare(lane: str) -> None:
    """Load the decoders before the first file comes."""
    from PIL import Image

    Image.preinit()
    with suppress(ImportError):
        from PIL import WebPImagePlugin  # noqa: F401
    if lane == "clips":
        os.nice(CLIP_NICE)
        import cascade.video.reader  # noqa: F401


def main() -> int:
    """Serve as the command line says: lane, number of the file with what is given, and of that for pixels."""
    lane, given, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # the parent ends this process by closing its input; Ctrl-C and a stop of the whole group are the parent's to handle
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    # whatever a library prints must not reach the answers
    os.dup2(2, 1)
    # of a damaged picture the answer says what counts; a library's warning would be a line of another form in the log
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _prepare(lane)
    with suppress(BrokenPipeError):
        Worker(jobs, answers, given, os.fdopen(pixels, "wb", buffering=0)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
