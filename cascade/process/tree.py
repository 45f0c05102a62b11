"""Processes and their descendants, by psutil: which they are, whether they still run, and how they are ended."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

# environment variable of a service that outlives its starter, with a value of its own; its children inherit it
DETACHED = "STREETVISION_DETACHED"
_MARK = re.compile(rf"{DETACHED}=(\w+)")
STEP = 0.05  # s between two looks
KILL_SECONDS = 60.0  # a killed process can hang in the kernel, for example in a driver
# two readings of one start time differ by rounding alone; the kernel counts it in hundredths of a second
SAME_START = 0.015


def started_at(pid: int) -> float | None:
    """When a process started, in seconds after boot; None where it is gone or a zombie.

    A process id is used again; together with this time it names one process. psutil's `create_time` moves with the
    system's clock, seconds after boot do not.
    """
    try:
        process = psutil.Process(pid)
        if not runs(process):
            return None
        return round(float(process.create_time() - psutil.boot_time()), 2)
    except psutil.Error:
        return None


def find(pid: int, started: float) -> psutil.Process | None:
    """Give the process of this id and start time (seconds after boot), None where it has ended."""
    now = started_at(pid)
    if now is None or abs(now - started) > SAME_START:
        return None
    with suppress(psutil.Error):
        return psutil.Process(pid)
    return None


def runs(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie, which only waits for its parent to read its exit code, does not."""
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def members(session: int) -> list[psutil.Process]:
    """The running processes of a session, whatever their process group."""
    return [process for process in psutil.process_iter() if _session(process.pid) == session and runs(process)]


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """The running children of a process at any depth, without services that were detached and what those started."""
    ours, found, skipped = _mark(root), [], set()
    with suppress(psutil.Error):
        # a parent comes before its children
        for child in root.children(recursive=True):
            with suppress(psutil.Error):
                if child.ppid() in skipped or _mark(child) not in (None, ours):
                    skipped.add(child.pid)
                elif runs(child):
                    found.append(child)
    return found


def resident(session: int) -> int:
    """Bytes in RAM of all processes of a session; pages that they share count once for each."""
    return sum(_rss(process) for process in members(session))


def end_process(process: psutil.Process, seconds: float) -> None:
    """End a process with all its descendants and its session, a detached service with all that bear its mark.

    Only the process itself gets SIGTERM, so that it can finish its work with its workers; then the workers that
    it left get it, and after `seconds` all that still run are killed.

    Raises:
        RuntimeError: something does not die.
    """
    known, mark = {process}, _mark(process)

    def alive() -> list[psutil.Process]:
        # a child of a dead parent is no descendant any more, so each one that was seen is remembered
        for one in tuple(known):
            known.update(descendants(one))
        known.update(members(process.pid))
        if mark:
            known.update(one for one in psutil.process_iter() if _mark(one) == mark)
        return [one for one in known if runs(one)]

    if left := end(alive, lambda one: one == process, seconds):
        raise RuntimeError(not_dying(left))


def end_session(leader: int, started: float | None, seconds: float) -> None:
    """End what is left of the session that a process leads or led.

    Args:
        leader: id of that process.
        started: its start, in seconds after boot; None where it had ended before that was read.
        seconds: how long they may take before they are killed; 0 kills at once.

    Raises:
        RuntimeError: something does not die.
    """
    # a dead leader's id stays taken as long as its session lives; one that lives must be the process that is meant
    now = started_at(leader)
    if now is not None and (started is None or abs(now - started) > SAME_START):
        return
    if left := end(lambda: members(leader), lambda _: True, seconds):
        raise RuntimeError(not_dying(left))


def end(
    alive: Callable[[], list[psutil.Process]], is_first: Callable[[psutil.Process], bool], seconds: float
) -> list[psutil.Process]:
    """Ask processes to end (SIGTERM), kill them after a time (SIGKILL), and come back when none is left.

    Args:
        alive: gives those that still run; called until it gives none.
        is_first: which of them get SIGTERM first; the others get it when these are gone.
        seconds: how long they may take before they are killed; 0 kills at once.

    Returns:
        The processes that do not die, after KILL_SECONDS; none as a rule.
    """
    deadline = time.monotonic() + seconds
    signalled: set[psutil.Process] = set()
    while left := alive():
        if time.monotonic() < deadline:
            first = [process for process in left if is_first(process)]
            for process in set(first or left) - signalled:
                send(process, signal.SIGTERM)
                signalled.add(process)
        elif time.monotonic() < deadline + KILL_SECONDS:
            for process in left:
                send(process, signal.SIGKILL)
        else:
            return left
        time.sleep(STEP)
    return []


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal; nothing happens where the process is gone, its id was given to another, or it is not ours."""
    with suppress(psutil.Error):
        process.send_signal(number)


def not_dying(left: list[psutil.Process]) -> str:
    """The message for processes that do not die."""
    return f"processes {[one.pid for one in left]} do not end though they were killed; look at the machine (`dmesg`)"


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _mark(process: psutil.Process) -> str | None:
    try:
        if mark := process.environ().get(DETACHED):
            return str(mark)
        # nginx writes its title over its environment; the title has its arguments, which repeat the mark
        found = _MARK.search(" ".join(process.cmdline()))
    except psutil.Error:
        return None
    return found.group(1) if found else None


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
