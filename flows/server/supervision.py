"""The supervisor of this folder: PM2, or our own where PM2 is not installed; started, found and stopped alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil

from cascade.process import part as parts
from cascade.process import restarts, tree
from cascade.process.part import FOLDER, Part
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import start_detached
from deploy.pm2 import pm2
from deploy.pm2.pm2 import Pm2Error

NOTE = FOLDER / "supervisor.note"
LOG = Path("var/supervisor.log")
END_SECONDS = 25.0  # a part has 15, and its guard 5
Program = Literal["pm2", "own"]
# kept so that Python does not complain of children that are meant to live on
_children: list[object] = []


class SupervisorRecord(ProcessRecord):
    """The supervisor that runs, and what was asked of it."""

    program: Program
    groups: tuple[str, ...]


def choose(wanted: str, say: Callable[[str], object]) -> Program:
    """Give the supervisor for `supervision.program`; where PM2 cannot be used and need not be, say why.

    Raises:
        Pm2Error: PM2 is wanted, and cannot be used.
    """
    if wanted == "own":
        return "own"
    try:
        pm2.usable()
    except Pm2Error as error:
        if wanted == "pm2":
            raise
        say(f"{error}: our own supervisor is used")
        return "own"
    return "pm2"


def running() -> SupervisorRecord | None:
    """The supervisor of this folder where it lives, else None."""
    found = read(NOTE, SupervisorRecord)
    return found if found and found.belongs_to(NOTE) and found.process() else None


def start(program: Program, found: tuple[Part, ...], groups: tuple[str, ...]) -> None:
    """Start it for these parts; what an earlier one left is ended first.

    Raises:
        Pm2Error: PM2 does not start.
    """
    stop()
    FOLDER.mkdir(parents=True, exist_ok=True)
    process = pm2.start(found) if program == "pm2" else _start_own(found)
    SupervisorRecord(
        pid=process.pid,
        started=tree.started_at(process.pid) or 0.0,
        folder=folder_of(NOTE),
        program=program,
        groups=groups,
    ).write(NOTE)


def stop() -> bool:
    """End the supervisor and all parts; False where none ran. The service and nginx, which it does not own, go on.

    Raises:
        RuntimeError: something does not die.
    """
    noted, ended = running(), pm2.stop()
    if noted and noted.program == "own" and (process := noted.process()):
        tree.end_process(process, END_SECONDS)
        ended = True
    NOTE.unlink(missing_ok=True)
    # of a supervisor that was killed
    return bool(parts.end_leftovers(END_SECONDS)) or ended


def _start_own(found: tuple[Part, ...]) -> psutil.Process:
    restarts.write_plan(found)
    child = start_detached([sys.executable, "-m", "cascade.process.restarts", str(restarts.PLAN)], LOG)
    _children.append(child)
    return psutil.Process(child.pid)
