"""Processes of checks: whatever one does, it is one outcome, and the next check runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from typing import Any

import psutil
import pytest

from tasks.gpu_check.probe import ask_card
from tasks.gpu_check.run import Outcome, Settings, run_checks
from tasks.gpu_check.work import Check

pytestmark = [pytest.mark.integration, pytest.mark.slow]
FAULTS = "tests.support.gpu_check_faults"


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    """The process that forks stays until its parent ends, which other tests would find among their children."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # there is no public way


def check(name: str, *, libraries: tuple[str, ...] = (), seconds: float = 100) -> Check:
    return Check(name, "a model", f"{FAULTS}:{name}", "serve", libraries, seconds)


def run(*checks: Check, seconds: float = 200, limit: float | None = None, device: Any = "cpu") -> list[Outcome]:
    params: Any = None
    settings = Settings(params, device, True, time.monotonic() + seconds, limit)
    return run_checks(checks, settings, lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("broken", "state", "reason"),
    [
        (check("crashes"), "failed", "ended by SIGSEGV, while the first call"),
        (check("is_killed"), "failed", "ended by SIGKILL: the kernel ends what takes too much main memory so"),
        (check("leaves"), "failed", "ended with exit code 3 and without a result"),
        (check("leaves"), "failed", "it wrote: unsupported card"),
        (check("hangs", seconds=10), "failed", "no result after 10 s, while the second call"),
        (check("raises"), "failed", "RuntimeError: no kernel image is available for execution on the device"),
        (check("runs_out"), "failed", "out of GPU memory: Tried to allocate 20.00 GiB (while 8 pictures a call)"),
        # a library that is not there, and one that is broken
        (check("measures", libraries=("os", "no_such_library")), "not installed", "not installed: no_such_library; `"),
        (check("lacks"), "not installed", "not installed: absl; `python -m pip install absl`"),
        (check("imports"), "failed", "ImportError: libcudnn.so.9"),
        (check("writes_half"), "failed", "exit code 0 and without a result"),
        # no such function
        (check("is_not_there"), "failed", "AttributeError"),
        # what happens after the figures are there is nobody's concern
        (check("dies_late"), "measured", ""),
    ],
    ids=lambda one: one.name if isinstance(one, Check) else None,
)
def test_one_outcome_and_the_next_check_runs(broken: Check, state: str, reason: str) -> None:
    first, second = run(broken, check("measures"))
    assert (first.state, second.state) == (state, "measured"), (first, second)
    assert reason in first.reason
    assert "\n" not in first.reason
    assert second.figures is not None
    assert second.figures.ms == {1: 1.0}


def test_the_processes_of_a_check_that_hangs_end_with_it() -> None:
    (found,) = run(check("hangs", seconds=10))
    (number,) = re.findall(r"beside process (\d+)", found.reason)
    deadline = time.monotonic() + 30
    while runs(int(number)):
        assert time.monotonic() < deadline, f"process {number} still runs"
        time.sleep(0.1)


def runs(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_processes_for_a_card_are_fresh_interpreters() -> None:
    """A driver survives no fork; nothing of these checks touches one."""
    outcomes = run(check("crashes"), check("measures"), device="cuda")
    assert [one.state for one in outcomes] == ["failed", "measured"]


def test_checks_that_are_left_when_the_time_is_over() -> None:
    """One that hangs takes what is left of the run; those after it are rows too."""
    states = [one.state for one in run(check("hangs"), check("measures"), check("measures"), seconds=8)]
    assert states == ["failed", "not run", "not run"]


def test_one_limit_for_all() -> None:
    (found,) = run(check("hangs"), limit=2)
    assert "no result after 2 s" in found.reason


def test_a_driver_that_does_not_answer() -> None:
    assert "does not answer within 0 s" in str(ask_card(0.01))
