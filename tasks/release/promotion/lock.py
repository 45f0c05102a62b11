"""The one lock of every door: retrain, promotion by hand, rollback. A waiting one says who holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cascade.process import tree
from cascade.process.record import ProcessRecord, folder_of, read
from tasks.common.user import user_name

LOCK = Path("var/release.lock")
REPEAT_SECONDS = 60.0
Say = Callable[[str], object]


class LockedError(RuntimeError):
    """Another promotion holds the lock for longer than a run waits."""


class LockHolder(ProcessRecord):
    """Who holds the lock, and what for."""

    what: str
    who: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.who}: {self.what}, since {self.since}"


@contextmanager
def release_lock(what: str, say: Say, seconds: float, path: Path = LOCK) -> Iterator[None]:
    """Hold the lock; the kernel gives it back when its holder ends, however it ends.

    Args:
        what: is done under it, for the message of those who wait.
        say: gets one line at once and every minute while another one holds it.
        seconds: to wait at most.
        path: of the lock; the holder's note lies beside it.

    Raises:
        LockedError: another one held it all the time; names the holder.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock, note = FileLock(path), path.with_name(f"{path.name}.json")
    deadline, next_line = time.monotonic() + seconds, 0.0
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            now = time.monotonic()
            holder = read(note, LockHolder) or "another process"
            if now > deadline:
                raise LockedError(f"{path} is held by {holder}; waited {seconds:g} s") from None
            if now >= next_line:
                say(f"waiting, as {path} is held by {holder}")
                next_line = now + REPEAT_SECONDS
    try:
        _holder(what, note).write(note)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _holder(what: str, note: Path) -> LockHolder:
    return LockHolder(
        pid=os.getpid(),
        started=tree.started_at(os.getpid()) or 0.0,
        folder=folder_of(note),
        what=what,
        who=user_name(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
