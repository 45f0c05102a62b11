"""The locks of a DVC repository: who holds them, which ones nobody holds any more, and waiting for the others.

DVC has two. `.dvc/tmp/lock` guards the repository for moments; the kernel gives it back when its holder ends.
`.dvc/tmp/rwlock` is JSON that names, by process id, who reads and writes which path while a stage runs. An entry
outlives a killed holder, and DVC drops it only where no process has its id; after a restart of the machine some process
may well have it. DVC refuses a file that it cannot read, as one that was cut off while it was written.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from flows.dvc.errors import PipelineError

# DVC waits for the repository's lock, but not for that of a path, which another process holds while its stage runs.
BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")
PAUSE_SECONDS = 5.0
REPEAT_SECONDS = 60.0
LIMIT_SECONDS = 3600.0
# by which a clock may be off that a file system or psutil reads
CLOCK_SECONDS = 2.0
Say: TypeAlias = Callable[[str], object]


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says; process 0 where it names none."""

    file: Path
    pid: int
    command: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        """Say which file names which process, of whom, since when, and what it works on."""
        import psutil

        if not self.pid:
            return f"{self.file} is held by a process that it does not name"
        try:
            process = psutil.Process(self.pid)
            command, user = self.command or shlex.join(process.cmdline()), process.username()
            since = datetime.fromtimestamp(process.create_time()).astimezone().isoformat(" ", "seconds")
            stopped = ", which is stopped: `kill -CONT` lets it go on" if process.status() == "stopped" else ""
            who = f"`{command}` of {user}, running since {since}{stopped}"
        except psutil.Error as error:
            who = f"`{self.command or 'unknown'}` ({type(error).__name__})"
        return f"{self.file} is held by process {self.pid}, {who}" + (f"; it works on {self.path}" if self.path else "")


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


def holders(root: Path) -> list[Holder]:
    """Who reads or writes which path, as `rwlock` says.

    Raises:
        PipelineError: the file is damaged, so that DVC runs nothing here.
    """
    file = _folder(root) / "rwlock"
    return [Holder(file, entry["pid"], entry["cmd"], path) for _, path, entry in _entries(_read(file))]


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


def drop_dead(root: Path, say: Say) -> None:
    """Take entries out of `rwlock` whose holder is gone, also where another process has its id by now.

    Raises:
        PipelineError: the file is damaged.
    """
    file = _folder(root) / "rwlock"
    if not any(_is_dead(holder) for holder in holders(root)):
        return
    from dvc.lock import LockError, make_lock

    try:
        # the guard under which DVC itself edits the file
        with make_lock(str(file.with_name("rwlock.lock")), tmp_dir=str(file.parent)):
            document = _read(file)
            gone = list(_drop(document, file))
            partial = file.with_name(f".rwlock.{os.getpid()}")
            partial.write_text(json.dumps(document), encoding="utf-8")
            partial.replace(file)
    except LockError:
        # somebody edits it at this moment; the next look finds what is left to do
        return
    for holder in dict.fromkeys((one.pid, one.command) for one in gone):
        pid, command = holder
        say(f"{file}: process {pid} (`{command}`) is gone, whatever has its number now; its entries were removed")


def _drop(document: dict[str, Any], file: Path) -> Iterator[Holder]:
    for kind, path, entry in list(_entries(document)):
        holder = Holder(file, entry["pid"], entry["cmd"], path)
        if not _is_dead(holder):
            continue
        if kind == "read":
            document[kind][path].remove(entry)
        if kind == "write" or not document[kind][path]:
            del document[kind][path]
        yield holder


def _is_dead(holder: Holder) -> bool:
    """Whether the process of an entry has ended.

    A younger process than the file is another one, and so is one whose command line does not end as the entry's, which
    is `sys.argv` of the holder.
    """
    import psutil

    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        if process.create_time() > holder.file.stat().st_mtime + CLOCK_SECONDS:
            return True
        arguments = (holder.command or "").split(" ")[1:]
        running = " ".join(process.cmdline()).split(" ")
        return bool(running) and running[len(running) - len(arguments) :] != arguments
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return True
    except (psutil.AccessDenied, OSError):
        return False


def _named(root: Path, output: str) -> Holder | None:
    """The holder that DVC names in its refusal, else the one of the repository's lock."""
    blocking = (holder for holder in holders(root) if f"(PID {holder.pid})" in output)
    return next(blocking, None) or repository_holder(root)


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PipelineError(f"{file}: cannot be read: {error}; {_removal(file)}") from None
    try:
        document = json.loads(text)
        list(_entries(document))
    except (ValueError, TypeError, KeyError, AttributeError):
        what = "is damaged" if text.strip() else "is empty"
        raise PipelineError(f"{file}: {what}, so DVC runs nothing here; {_removal(file)}") from None
    return dict(document)


def _removal(file: Path) -> str:
    return f"see to it that no `dvc` works in this folder, then `rm {shlex.quote(str(file))}`"


def _entries(document: dict[str, Any]) -> Iterator[tuple[Literal["read", "write"], str, dict[str, Any]]]:
    """Kind, path and entry of all that `rwlock` names; its format is that of `dvc.rwlock.SCHEMA`."""
    for path, entry in document.get("write", {}).items():
        yield "write", path, _checked(entry)
    for path, several in document.get("read", {}).items():
        for entry in several:
            yield "read", path, _checked(entry)


def _checked(entry: Any) -> dict[str, Any]:
    if set(entry) != {"pid", "cmd"} or type(entry["pid"]) is not int or not isinstance(entry["cmd"], str):
        raise ValueError(entry)
    return dict(entry)


def _folder(root: Path) -> Path:
    return root / ".dvc" / "tmp"


def _ours() -> set[int]:
    import psutil

    return {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
