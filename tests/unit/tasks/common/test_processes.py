"""Work in processes: results in order, errors as they are, and no process that outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import count, islice

import psutil
import pytest

from tasks.common.processes import in_order, worker_count
from tests.support.paths import ROOT

PARENT = """
import os, time
from tasks.common.processes import in_order
print(*in_order(lambda _: os.getpid(), range(2), 2), flush=True)
for _ in in_order(lambda _: (print(os.getpid(), flush=True), time.sleep(60)), range(2), 2):
    pass
"""


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    def late(item: int) -> int:
        # the first ones take longest
        time.sleep(0.02 * max(0, 4 - item))
        return item * item

    assert list(in_order(late, range(9), workers)) == [item * item for item in range(9)]
    assert list(in_order(late, [], workers)) == []


@pytest.mark.parametrize(("workers", "elsewhere"), [(0, False), (2, True)])
def test_the_work_is_done_where_it_should_be(workers: int, elsewhere: bool) -> None:
    assert all((pid != os.getpid()) == elsewhere for pid in in_order(lambda _: os.getpid(), range(4), workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_read_as_they_are_wanted(workers: int) -> None:
    read = []

    def items() -> object:
        for number in count():
            read.append(number)
            yield number

    assert list(islice(in_order(str, items(), workers), 2)) == ["0", "1"]  # type: ignore[arg-type]
    assert len(read) <= 2 + max(workers, 1) + 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_work_comes_through(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda item: 1 // item, [1, 0, 1], workers))


def test_a_process_that_is_ended_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="set fewer `processes`"):
        list(in_order(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(3), 2))


def test_processes_end_with_their_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    parent.stdout.readline()
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, workers))


@pytest.mark.parametrize(
    ("asked", "on_card", "expected"),
    [
        # as asked; one a core that may be used; the thread of before
        (3, False, 3),
        (0, True, 0),
        ("auto", True, len(os.sched_getaffinity(0))),
        ("auto", False, 0),
    ],
)
def test_how_many(asked: int | str, on_card: bool, expected: int) -> None:
    assert worker_count(asked, on_card=on_card) == expected  # type: ignore[arg-type]
