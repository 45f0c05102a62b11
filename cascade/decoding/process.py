"""One decoding process as its parent sees it: a picture or a clip goes in, pixels come out."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.decoding.channel import BrokenError, Channel, LateError, OvertimeError
from cascade.preprocess.image import BadImage, Decoded
from cascade.video.sampling import ClipLimits

if TYPE_CHECKING:
    from PIL import Image

FOREVER = math.inf
ENDED = TOO_SLOW, CRASHED, STOPPED = "too_slow", "crashed", "stopped"
# for one picture, and from one frame to the next; the process itself holds a picture's processor time to far less
WAIT_SECONDS = 60.0
# of waiting for a whole clip, beside WAIT_SECONDS
SECONDS_A_CLIP_SECOND = 5.0
# for the frame that is being decoded when the rest of a clip is not wanted
STOP_SECONDS = 0.2
CLOSE_SECONDS = 1.0
log = logging.getLogger("streetvision")


class DecodingDeadlineError(RuntimeError):
    """The time that the caller gave was up; that says nothing about the file."""


class DecoderProcess:
    """A process that decodes one file at a time; not for several threads at once.

    Attributes:
        lane: what it decodes, `pictures` or `clips`.
        ended: why it was ended, too_slow, crashed or stopped (a clip was given up); None while it is good.
    """

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.ended: str | None = None
        self._channel = Channel(lane)
        self._is_ready = False

    @property
    def is_alive(self) -> bool:
        """Whether it can take a file."""
        return self._channel.is_alive

    def wait_until_ready(self, until: float) -> bool:
        """Wait for it to have loaded what it needs; a process that is still at it stays as it is.

        Raises:
            BrokenError: it cannot be started.
        """
        if not self._is_ready:
            try:
                self._channel.receive(until)
            except LateError:
                return False
            self._is_ready = True
        return True

    def picture(
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
            BadImage: as there; too_slow: it takes too long; crashed: the process died of it.
            DecodingDeadlineError: see there.
        """
        with self._ending("the image", until):
            self._channel.give(data)
            job = {"bytes": len(data), "max_pixels": max_pixels, "min_side": min_side, "enough": enough}
            self._channel.send(json.dumps(job))
            answer = self._channel.receive(min(until, time.monotonic() + WAIT_SECONDS))
            image = self._channel.take(tuple(answer["size"]), answer["offset"])
            return Decoded(image, tuple(answer["notes"]), answer["reduced"])

    def clip(self, source: Path | bytes, limits: ClipLimits, until: float = FOREVER) -> RemoteClip:
        """Open a clip, as `cascade.video.reader.open_clip` does.

        Raises:
            BadImage: as there, and as for `picture`.
            DecodingDeadlineError: see there.
        """
        job = {"path": str(source.absolute()) if isinstance(source, Path) else "", "limits": asdict(limits)}
        with self._ending("the clip", until):
            if isinstance(source, bytes):
                self._channel.give(source)
            self._channel.send(json.dumps(job))
            opened = self._channel.receive(min(until, time.monotonic() + WAIT_SECONDS))
        return RemoteClip(self, opened["seconds"], opened["expected"], until)

    def next_frame(self, until: float, seconds: float) -> dict[str, Any]:
        """Wait for the next message about an opened clip, at most so long; `image` is its frame, where it has one."""
        with self._ending("the clip", until):
            message = self._channel.receive(min(until, time.monotonic() + seconds))
            if "at" in message:
                message["image"] = self._channel.take(tuple(message["size"]), message["offset"])
                self._channel.send("next")
            return message

    def stop_clip(self) -> None:
        """Give up the rest of an opened clip; a process that is too busy to hear of it is ended."""
        try:
            until = time.monotonic() + STOP_SECONDS
            self._channel.send("stop")
            while "at" in self._channel.receive(until):
                pass  # the frame that was at work; the process reads `stop` behind it
        except BadImage:
            return
        except (LateError, OvertimeError, BrokenError, ValueError):
            self._end(STOPPED)

    def close(self) -> None:
        """Let it end by itself; one that has not started yet, or does not, is killed."""
        self._channel.close(CLOSE_SECONDS if self._is_ready else 0.0)

    @contextmanager
    def _ending(self, what: str, until: float) -> Iterator[None]:
        """End the process where it is late or broken, and say so as a refusal of the file."""
        try:
            yield
        except (LateError, OvertimeError) as error:
            self._end(TOO_SLOW)
            if isinstance(error, LateError) and time.monotonic() >= until:
                raise DecodingDeadlineError(f"the time was up before {what} was decoded") from None
            raise BadImage(TOO_SLOW, f"{what} takes too long to decode") from None
        except BadImage:
            raise
        except (BrokenError, OSError, ValueError, LookupError, TypeError) as error:
            self._end(CRASHED)
            log.warning("%s could not be decoded: %s", what, error)
            raise BadImage(CRASHED, f"{what} cannot be decoded: the decoder died of it") from None
        except BaseException:
            self._end(STOPPED)
            raise

    def _end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self._channel.close()


class RemoteClip:
    """A clip that a process has open; the same as `cascade.video.reader.ClipReader` to its user.

    Attributes:
        seconds: see there.
        expected: see there.
        decoded: sound frames so far.
        damaged: packets and frames with errors so far.
    """

    def __init__(self, process: DecoderProcess, seconds: float, expected: int, until: float) -> None:
        self.seconds, self.expected, self.decoded, self.damaged = seconds, expected, 0, 0
        self._process, self._until = process, until
        self._seconds_left = WAIT_SECONDS + SECONDS_A_CLIP_SECOND * seconds if seconds else FOREVER
        self._is_open = True

    def frames(self) -> Iterator[tuple[float, Image.Image]]:
        """Give the sampled frames; where the time is up, those that came until then.

        Raises:
            BadImage: not one frame came.
            DecodingDeadlineError: not one came in time.
        """
        given = 0
        while self._is_open:
            try:
                message = self._next()
            except (BadImage, DecodingDeadlineError) as error:
                self._is_open = False
                if given and getattr(error, "reason", TOO_SLOW) == TOO_SLOW:
                    return
                raise
            self.decoded, self.damaged = message["decoded"], message["damaged"]
            self._is_open = "at" in message
            if self._is_open:
                given += 1
                yield message["at"], message["image"]

    def close(self) -> None:
        """Give up what was not asked for."""
        if self._is_open:
            self._is_open = False
            self._process.stop_clip()

    def _next(self) -> dict[str, Any]:
        begun = time.monotonic()
        message = self._process.next_frame(self._until, min(WAIT_SECONDS, self._seconds_left))
        self._seconds_left -= time.monotonic() - begun
        return message
