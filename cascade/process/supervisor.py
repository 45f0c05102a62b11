"""A server as a process group of its own that is gone when it is said to be: Linux only, by /proc."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

NOTE, LOG = ".process.json", ".log"
STEP = 0.05  # s between two looks
KILL_SECONDS = 60.0  # a killed process can hang in the kernel, for example in a driver


class ProcessGroup:
    """A command in a session of its own, with a note on disk by which a later run finds what a killed one left.

    Args:
        folder: takes the note, which names the process and its owner while it lives, and the log.
        name: of the server. Two programs may run one each under the same name: blue and green beside each other.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._note = folder / f"{name}.{os.getpid()}{NOTE}"
        self.log = folder / f"{name}.{os.getpid()}{LOG}"
        self._child: Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The leader's process id, None where nothing was started."""
        return self._child.pid if self._child else None

    def alive(self) -> bool:
        """Whether the leader still runs."""
        return self._child is not None and self._child.poll() is None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start, after ending what programs that are gone left; raises OSError where the program cannot be run."""
        self.end_leftovers()
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._child = Popen(
                list(command),
                env=dict(environment),
                stdin=DEVNULL,
                stdout=output,
                stderr=STDOUT,
                start_new_session=True,
            )
        document = {
            "pid": self._child.pid, "born": started_at(self._child.pid),
            "owner": os.getpid(), "owner_born": started_at(os.getpid()),
        }  # fmt: skip
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(self._note)

    def stop(self, seconds: float) -> None:
        """Ask the group to end, kill it after `seconds`, and come back when no process of the session is left."""
        if self._child is None:
            return
        end_session(self._child.pid, seconds)
        self._child.wait()
        self._child = None
        self._note.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """Kill the sessions whose owner is gone, or is this program and has forgotten them."""
        for note in self._folder.glob(f"{self._name}.*{NOTE}"):
            try:
                noted = json.loads(note.read_text(encoding="utf-8"))
                pid, born, owner, owner_born = (noted[key] for key in ("pid", "born", "owner", "owner_born"))
                owned = owner != os.getpid() and started_at(int(owner)) == owner_born
                # ids are used again: it must be the one that was noted, or a dead leader whose children live on and
                # keep its id from being given to another process
                ours = born is not None and started_at(int(pid)) in (born, None)
            except (OSError, ValueError, KeyError, TypeError):
                owned = ours = False
            if owned:
                continue
            if ours:
                end_session(int(pid), 0.0)
            note.unlink(missing_ok=True)
            if note != self._note:
                note.with_name(note.name.removesuffix(NOTE) + LOG).unlink(missing_ok=True)


def end_session(leader: int, seconds: float) -> None:
    """End every process of a session: politely, then for sure.

    Process groups alone would miss a child that made one of its own; the session is what a server's children share.

    Raises:
        RuntimeError: something does not die.
    """
    deadline = time.monotonic() + seconds
    if seconds > 0:
        _signal(members(leader), signal.SIGTERM)
        while members(leader) and time.monotonic() < deadline:
            time.sleep(STEP)
    given_up = time.monotonic() + KILL_SECONDS
    while left := members(leader):
        if time.monotonic() > given_up:
            raise RuntimeError(f"processes {left} do not end though they were killed; the machine needs a look")
        _signal(left, signal.SIGKILL)
        time.sleep(STEP)


def members(session: int) -> list[int]:
    """Ids of the living processes of a session; zombies, which only wait to be counted, are not among them."""
    found = []
    for folder in Path("/proc").iterdir():
        fields = _fields(int(folder.name)) if folder.name.isdigit() else []
        if fields and int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(folder.name))
    return found


def resident(session: int) -> int:
    """Bytes in RAM of all processes of a session; pages that they share count once for each."""
    page, total = os.sysconf("SC_PAGESIZE"), 0
    for pid in members(session):
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * page
    return total


def started_at(pid: int) -> str | None:
    """When a process began, in the kernel's ticks since boot; None where there is none."""
    fields = _fields(pid)
    return fields[19] if fields else None


def _fields(pid: int) -> list[str]:
    """What follows the name in /proc/<pid>/stat: state, parent, group, session, ... (proc(5)); empty where gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
