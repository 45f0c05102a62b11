"""Runs checks beside each other, each in a thread, until all have answered or the time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from tasks.doctor.finding import Finding, error, not_asked
from tasks.doctor.registry import Check, Context

# before the end, so that what hangs is said in time
MARGIN = 0.5


def run_checks(checks: Sequence[Check], context: Context) -> list[Finding]:
    """Run all checks and give their findings in the order of the checks.

    A check that raises or does not answer before the deadline is a finding. Its thread cannot be ended; it is a daemon
    and ends with the process.
    """
    tasks = [_Task(one, context) for one in checks]
    for task in tasks:
        task.thread.start()
    for task in tasks:
        task.thread.join(max(0.0, context.deadline - MARGIN - time.monotonic()))
    return [finding for task in tasks for finding in task.findings()]


class _Task:
    """A check in its thread."""

    def __init__(self, check: Check, context: Context) -> None:
        self.check, self._context = check, context
        self.thread = threading.Thread(target=self._run, name=check.name, daemon=True)
        self._found: list[Finding] = []
        self._done = threading.Event()
        self._begun = time.monotonic()

    def findings(self) -> list[Finding]:
        """What it has found; if it has not answered, that it has not."""
        found = list(self._found)
        if not self._done.is_set():
            found.append(_too_slow(time.monotonic() - self._begun))
        return [replace(one, check=self.check.name, group=self.check.group) for one in found]

    def _run(self) -> None:
        begun = time.monotonic()
        try:
            if self.check.needs_params and self._context.params is None:
                found = [not_asked("params.yaml cannot be read")]
            else:
                found = list(self.check.run(self._context))
        # a fault of one check must not hide what the others say
        except BaseException as failure:
            found = [_failed(failure)]
        seconds = round(time.monotonic() - begun, 3)
        self._found.extend(replace(one, seconds=seconds) for one in found)
        self._done.set()


def _failed(failure: BaseException) -> Finding:
    words = " ".join(str(failure).split())[:300]
    return error(
        f"the check itself failed: {type(failure).__name__}: {words}",
        "look at what it names; if that is as it should be, this is a fault of the doctor",
    )


def _too_slow(seconds: float) -> Finding:
    return error(
        f"no answer after {seconds:.1f} s",
        "run the doctor again with more time (--seconds 60); if it still does not answer, what it asks hangs",
    )
