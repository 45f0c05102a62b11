"""What the service keeps for mining: uncertain answers, stages that disagree, and a random slice to measure by.

The request path only puts bytes into a queue. Everything else, hashing included, happens in one thread that may fail,
fall behind or fill its disk without an answer being later or missing for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from queue import Empty, Full, Queue
from typing import Any

from cascade.config import InboxParams
from cascade.core.cascade import Prediction
from cascade.inbox.store import CONTROL, HARD, expire, save, trim
from cascade.preprocess.image import BadImage
from cascade.preprocess.strip_metadata import strip
from cascade.probability import CUT

# what may wait to be written; beyond it pictures are dropped, since memory belongs to the answers
QUEUE_PICTURES = 256
QUEUE_BYTES = 64_000_000
# about what a trace takes; the folder's own figures correct it whenever it is read
TRACE_BYTES = 1000
COMPLAIN_SECONDS = 60.0
EXPIRE_SECONDS = 3600.0
log = logging.getLogger("streetvision.inbox")


def why(answer: Prediction, params: InboxParams) -> str | None:
    """Say why a person should review a prediction: `disagreement`, `uncertain`, or None where nothing calls for it."""
    seen = [stage.probability for stage in answer.stages if stage.probability is not None]
    if seen and max(seen) - min(seen) >= params.disagreement and min(seen) <= CUT < max(seen):
        return "disagreement"
    return "uncertain" if params.uncertain_low <= answer.probability <= params.uncertain_high else None


def is_control(data: bytes, rate: float) -> bool:
    """Whether a picture belongs to the random slice: by its content alone, so that asking again changes nothing."""
    # the digest's last bytes: its first ones sort the folders of more than one cache
    return int.from_bytes(sha256(data).digest()[-8:], "big") < rate * 2**64


def trace(answer: Prediction, reason: str) -> dict[str, Any]:
    """What is kept of an answer: numbers and names of stages only.

    Words that a stage read in the picture may be a number plate or a telephone number, so nothing of `detail` and no
    sentence is kept, and neither the caller's address nor the name of the file.
    """
    stages = [{"stage": seen.stage, "probability": seen.probability, "verdict": seen.verdict} for seen in answer.stages]
    return {
        "reason": reason,
        "probability": answer.probability,
        "label": answer.label,
        "decided_by": answer.decided_by,
        "release": answer.release,
        "stages": stages,
    }


def open_inbox(params: InboxParams | None, *, max_pixels: int, min_side: int) -> Inbox | None:
    """Start an inbox, unless there is none or it is switched off."""
    return Inbox(params, max_pixels=max_pixels, min_side=min_side) if params and params.enabled else None


class Inbox:
    """One service's way into the inbox; `offer` may be called from several threads.

    Attributes:
        counts: pictures kept, passed (of no interest), duplicate, dropped (the queue was full), refused, failed.
    """

    def __init__(self, params: InboxParams, *, max_pixels: int, min_side: int) -> None:
        self.params = params
        self.counts: Counter[str] = Counter()
        self._limits = {"max_pixels": max_pixels, "min_side": min_side}
        self._waiting: Queue[tuple[bytes, Prediction] | None] = Queue(QUEUE_PICTURES)
        self._bytes = 0
        self._lock = threading.Lock()
        self._complained = self._expired = float("-inf")
        self._used: dict[str, tuple[int, int]] = {}
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def offer(self, files: Sequence[bytes], answers: Sequence[Prediction]) -> None:
        """Hand over the pictures of a request with their answers; returns at once and never raises."""
        try:
            for data, answer in zip(files, answers, strict=True):
                self._put(data, answer)
        except Exception:
            log.exception("the inbox takes nothing of this request")

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for at most so many seconds."""
        with suppress(Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(seconds)

    def _put(self, data: bytes, answer: Prediction) -> None:
        with self._lock:
            has_room = self._bytes + len(data) <= QUEUE_BYTES
            if has_room:
                with suppress(Full):
                    self._waiting.put_nowait((data, answer))
                    self._bytes += len(data)
                    return
            self.counts["dropped"] += 1

    def _run(self) -> None:
        while True:
            try:
                item = self._waiting.get(timeout=EXPIRE_SECONDS)
            except Empty:
                self._expire()
                continue
            if item is None:
                return
            result = self._try(*item)
            with self._lock:
                self.counts[result] += 1
                self._bytes -= len(item[0])

    def _try(self, data: bytes, answer: Prediction) -> str:
        try:
            self._expire()
            return self._keep(data, answer)
        except BadImage:
            return "refused"
        except Exception as error:
            self._complain(error)
            return "failed"

    def _keep(self, data: bytes, answer: Prediction) -> str:
        """Decide by the bytes that came, and store them stripped."""
        reason, control = why(answer, self.params), is_control(data, self.params.control_rate)
        if reason is None and not control:
            return "passed"
        share = CONTROL if control else HARD
        picture = strip(data, **self._limits)
        if len(picture) > self.params.limits(share)[1]:
            return "refused"
        if not save(self.params.folder, share, picture, trace(answer, reason or CONTROL)):
            return "duplicate"
        self._trim(share, len(picture) + TRACE_BYTES)
        return "kept"

    def _trim(self, share: str, size: int) -> None:
        """Look at the folder only when by our own count a limit may be passed; others may have changed it."""
        limits = self.params.limits(share)
        count, total = self._used.get(share, limits)
        self._used[share] = count + 1, total + size
        if count + 1 > limits[0] or total + size > limits[1]:
            self._used[share] = trim(self.params.folder, share, *limits)

    def _expire(self) -> None:
        if time.monotonic() - self._expired > EXPIRE_SECONDS:
            self._expired = time.monotonic()
            expire(self.params.folder, self.params.keep_days)

    def _complain(self, error: Exception) -> None:
        """Once a minute: a full disk must not fill the log too."""
        if time.monotonic() - self._complained > COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.warning("the inbox keeps nothing at the moment (%s): %s", type(error).__name__, error)
