"""The locks of a DVC repository: who holds them, which ones nobody holds any more, and waiting for the others.

DVC has two. `.dvc/tmp/lock` guards the repository for moments; the kernel gives it back when its holder ends.
`.dvc/tmp/rwlock` names who reads and writes which path while a stage runs (`flows.dvc.rwlock`).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from flows.dvc.errors import PipelineError
from flows.dvc.rwlock import Holder, Say, drop_dead, holders

# DVC waits for the repository's lock, but not for that of a path, which another process holds while its stage runs.
BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")
PAUSE_SECONDS = 5.0
REPEAT_SECONDS = 60.0
LIMIT_SECONDS = 3600.0


def wait_for_lock(root: Path, attempt: Callable[[], tuple[int, str]], say: Say) -> tuple[int, str]:
    """Run a DVC command as soon as no other process blocks it; say who does, at once and every minute, for an hour.

    Args:
        root: folder of the DVC repository.
        attempt: runs the command and gives its exit code and output.
        say: gets one line at a time.

    Raises:
        PipelineError: a process blocks it for an hour, or a lock file is damaged.
    """
    deadline, next_line = time.monotonic() + LIMIT_SECONDS, 0.0
    while True:
        drop_dead(root, say)
        blocker = repository_holder(root)
        if blocker is None:
            code, output = attempt()
            if code == 0 or not any(sign in output for sign in BUSY):
                return code, output
            blocker = _named(root, output)
        now = time.monotonic()
        what = str(blocker) if blocker else f"a lock below {_folder(root)} was held a moment ago"
        if now > deadline:
            raise PipelineError(f"{what}; waited {LIMIT_SECONDS / 60:.0f} min. {_remedy(blocker)}")
        if now >= next_line:
            say(f"waiting, as {what}. {_remedy(blocker)}")
            next_line = now + REPEAT_SECONDS
        time.sleep(PAUSE_SECONDS)


def _remedy(holder: Holder | None) -> str:
    end = f", or end it (`kill {holder.pid}`)" if holder and holder.pid else ""
    return f"Wait for it{end}; what is done is kept, and the next `make run` goes on from there"


def repository_holder(root: Path) -> Holder | None:
    """Who holds the repository's own lock, where that is none of our own processes."""
    file = _folder(root) / "lock"
    try:
        with file.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = file.read_text(errors="replace").strip()
        pid = int(text) if text.isdigit() else 0
        return None if pid in _ours() else Holder(file, pid)
    except OSError:
        # none yet; and DVC says best what is wrong with a file that cannot be opened
        pass
    return None


def _named(root: Path, output: str) -> Holder | None:
    """The holder that DVC names in its refusal, else the one of the repository's lock."""
    blocking = (holder for holder in holders(root) if f"(PID {holder.pid})" in output)
    return next(blocking, None) or repository_holder(root)


def _folder(root: Path) -> Path:
    return root / ".dvc" / "tmp"


def _ours() -> set[int]:
    import psutil

    return {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
