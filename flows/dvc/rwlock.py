"""`.dvc/tmp/rwlock`: who reads or writes which path, as DVC notes it while a stage runs.

The file is JSON. An entry outlives a killed holder, and DVC drops it only where no process has its id; after a restart
of the machine some process may well have it. DVC empties the file before it writes it: killed in between it leaves one
that it refuses from then on.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from flows.dvc.errors import PipelineError

# by which a clock may be off that a file system or psutil reads
CLOCK_SECONDS = 2.0
# for how long a file that is no JSON may be one that is written at this moment
WRITING_SECONDS = 0.2
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


def rwlock_file(root: Path) -> Path:
    """Where DVC keeps it."""
    return root / ".dvc" / "tmp" / "rwlock"


def holders(root: Path) -> list[Holder]:
    """Who reads or writes which path, as `rwlock` says.

    Raises:
        PipelineError: the file is damaged, so that DVC runs nothing here.
    """
    file = rwlock_file(root)
    return [Holder(file, entry["pid"], entry["cmd"], path) for _, path, entry in _entries(_read(file))]


def drop_dead(root: Path, say: Say) -> None:
    """Take entries out of `rwlock` whose holder is gone, also where another process has its id by now.

    A file that was cut off while it was written starts anew, where no process runs DVC in the folder.

    Raises:
        PipelineError: the file is damaged in another way, or it was cut off and a process runs DVC in the folder.
    """
    file = rwlock_file(root)
    if _is_cut_off(file):
        _start_anew(file, root, say)
    if not any(_is_dead(holder) for holder in holders(root)):
        return
    gone: list[Holder] = []
    with _guard(file) as held:
        if held:
            document = _read(file)
            gone = list(_drop(document, file))
            _write(file, document)
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


@contextmanager
def _guard(file: Path) -> Iterator[bool]:
    """The lock under which DVC itself edits the file; False where somebody else edits it at this moment."""
    from dvc.lock import LockError, make_lock

    guard = make_lock(str(file.with_name("rwlock.lock")), tmp_dir=str(file.parent))
    try:
        guard.lock()
    except LockError:
        # the next look finds what is left to do
        yield False
        return
    try:
        yield True
    finally:
        guard.unlock()


def _write(file: Path, document: dict[str, Any]) -> None:
    partial = file.with_name(f".rwlock.{os.getpid()}")
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(file)


def _load(file: Path) -> Any:
    """The file's JSON; one that is written at this moment is waited for.

    Raises:
        ValueError: it is no text, or no whole JSON for longer than DVC takes to write it.
        OSError: it cannot be read.
    """
    until = time.monotonic() + WRITING_SECONDS
    while True:
        text = file.read_text(encoding="utf-8")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_cut_off(file: Path) -> bool:
    try:
        _load(file)
    except json.JSONDecodeError:
        return True
    except (OSError, ValueError):
        # `_read` says what is wrong with it
        return False
    return False


def _start_anew(file: Path, root: Path, say: Say) -> None:
    worker = _dvc_process(root)
    if worker is not None:
        raise PipelineError(f"{file}: was cut off while it was written, and {worker}; {_removal(file)}")
    with _guard(file) as held:
        if held and _is_cut_off(file):
            _write(file, {})
            say(f"{file}: was cut off while it was written, and no process runs DVC here; it starts anew")


def _dvc_process(root: Path) -> str | None:
    """A process that runs DVC in the folder or may read its outputs, as a part of a sentence; never this process."""
    import psutil

    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if process.pid != os.getpid() and _runs_dvc(words) and Path(process.cwd()).is_relative_to(root.resolve()):
                return f"process {process.pid} (`{shlex.join(words)}`) works in the folder"
        except (psutil.Error, OSError):
            # ended meanwhile, or another user's
            continue
    return None


def _runs_dvc(words: list[str]) -> bool:
    return any(Path(word).name == "dvc" or re.match(r"flows\.(?!server)", word) for word in words)


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


def _read(file: Path) -> dict[str, Any]:
    try:
        document = _load(file)
        list(_entries(document))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{file}: cannot be read: {error}; {_removal(file)}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise PipelineError(f"{file}: is damaged, so DVC runs nothing here; {_removal(file)}") from None
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
