"""A part of what `streetvision up` runs: one command with its note and a limit of memory, run to its end.

PM2 starts this module once a part, and so the command gets a guard (cascade/process/guard.py): its descendants end with
it, also where PM2 is killed, and services that it detached go on. PM2's own limit of memory sees one process alone,
and the servers of Prefect and MLflow work in children; here it is that of the command's session.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cascade.process import tree
from cascade.process.guard import DIE_WITH_PARENT
from cascade.process.noted import OwnedRecord
from cascade.process.record import folder_of, read
from cascade.process.supervisor import SECONDS, Supervised

FOLDER = Path("var/up")
GIB = 1 << 30
LOOK_SECONDS = 0.2
MEMORY_SECONDS = 5.0  # between two looks at the memory, for which all processes of the machine are listed
TOO_LARGE = 75  # exit code


class Part(BaseModel):
    """What is started, and started again when it ends.

    Attributes:
        name: of its note and log.
        command: program and arguments.
        log: takes what it writes.
        url: where people find it; None where it has no address.
        seconds: that it may take to end before it is killed.
        gib: of RAM that it may take with its children before it is started anew; 0: no limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    command: tuple[str, ...]
    log: Path
    url: str | None = None
    seconds: float = SECONDS
    gib: float = 0


class PartRecord(OwnedRecord):
    """A part that runs; its owner is the process that watches it."""

    name: str


def run_part(
    name: str, command: tuple[str, ...], seconds: float, gib: float, stop: threading.Event, output: int = 1
) -> int:
    """Run a command until it ends, is told to, or takes too much memory; give its exit code.

    Args:
        name: of the note in `var/up`.
        command: program and arguments.
        seconds: between SIGTERM and SIGKILL.
        gib: of RAM for its session; 0: no limit.
        stop: set where it shall end.
        output: descriptor that takes what it writes.

    Raises:
        OSError: the program cannot be run.
    """
    note = FOLDER / f"{name}.json"
    with Supervised(command, stdout=output, seconds=seconds) as child:
        _noted(name, child, note).write(note)
        try:
            return _watch(name, child, gib, stop)
        finally:
            child.stop()
            note.unlink(missing_ok=True)


def running(name: str) -> PartRecord | None:
    """The part of this folder that lives, else None."""
    note = FOLDER / f"{name}.json"
    found = read(note, PartRecord)
    return found if found and found.belongs_to(note) and found.process() else None


def end_leftovers(seconds: float) -> list[str]:
    """End the parts of this folder whose supervisor is gone, with those who watch them; give their names."""
    ended = []
    for note in FOLDER.glob("*.json"):
        found = read(note, PartRecord)
        if found is None:
            continue
        if found.belongs_to(note):
            ended += [found.name] if found.process() else []
            if owner := tree.find(found.owner, found.owner_started):
                tree.end_process(owner, seconds)
            tree.end_session(found.pid, found.started, seconds)
        note.unlink(missing_ok=True)
    return ended


def _watch(name: str, child: Supervised, gib: float, stop: threading.Event) -> int:
    next_look = time.monotonic() + MEMORY_SECONDS
    while (code := child.poll()) is None:
        if stop.wait(LOOK_SECONDS):
            return 0
        if gib and time.monotonic() > next_look:
            next_look = time.monotonic() + MEMORY_SECONDS
            if (taken := tree.resident(child.pid)) > gib * GIB:
                print(f"{name} takes {taken / GIB:.2f} GiB, and {gib:g} is its limit: it is started anew", flush=True)
                return TOO_LARGE
    return code


def _noted(name: str, child: Supervised, note: Path) -> PartRecord:
    note.parent.mkdir(parents=True, exist_ok=True)
    return PartRecord(
        pid=child.pid,
        started=child.started or 0.0,
        folder=folder_of(note),
        owner=os.getpid(),
        owner_started=tree.started_at(os.getpid()) or 0.0,
        name=name,
    )


def main() -> int:
    """Run as `python -m cascade.process.part NAME SECONDS GIB -- COMMAND...`; ends when its parent does."""
    parser = argparse.ArgumentParser(prog="cascade.process.part")
    parser.add_argument("name")
    parser.add_argument("seconds", type=float)
    parser.add_argument("gib", type=float)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        return 0
    return run_part(given.name, tuple(given.command), given.seconds, given.gib, stop)


if __name__ == "__main__":
    raise SystemExit(main())
