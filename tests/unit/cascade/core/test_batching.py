"""Calls that wait at the same time share a batch, each gets its own results, and late ones are dropped unrun."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cascade.core.batching import Batcher
from cascade.core.memory import LoadError
from cascade.core.timeouts import StageBusyError, StageTimeoutError
from cascade.stages.base import StageResult


class Stage:
    """Numbers stand for images; the first batch runs until `gate` opens, so that the calls after it stand in line."""

    def __init__(self, breaks: Callable[[Sequence[Any]], None] = lambda images: None) -> None:
        self.batches: list[tuple[list[Any], list[float] | None, float]] = []
        self.gate, self.begun, self._breaks = threading.Event(), threading.Event(), breaks

    def run(self, images: Sequence[Any], priors: Sequence[float] | None, until: float) -> list[StageResult]:
        self.batches.append((list(images), None if priors is None else list(priors), until))
        self.begun.set()
        if len(self.batches) == 1:
            assert self.gate.wait(30)
        self._breaks(images)
        return [StageResult(stage="vlm", verdict="undecided", milliseconds=image) for image in images]


def in_line(batcher: Batcher, stage: Stage, calls: Sequence[tuple[Any, ...]]) -> list[Future[list[StageResult]]]:
    """Make calls that stand in line, in this order, behind one that runs; then let them go."""
    pool = ThreadPoolExecutor(len(calls) + 1)
    running = [pool.submit(batcher.call, [0])]
    assert stage.begun.wait(10)
    for number, call in enumerate(calls):
        running.append(pool.submit(batcher.call, *call))
        wait_for(lambda expected=number + 1: len(batcher._line) == expected)
    stage.gate.set()
    pool.shutdown(wait=True)
    assert [one.milliseconds for one in running[0].result()] == [0]
    return running[1:]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("calls", "batches"),
    [
        # all that wait go together, in their order
        ([([1],), ([2, 3],), ([4],)], [[1, 2, 3, 4]]),
        # up to the size of a batch, and no call is split
        ([([1, 2],), ([3, 4, 5],), ([6],)], [[1, 2], [3, 4, 5, 6]]),
        # images with an estimate of earlier stages do not mix with those without
        ([([1],), ([2], [0.3]), ([3], [0.4])], [[1], [2, 3]]),
        # a deadline far from the others': it would cut their time short
        ([([1], None, math.inf), ([2], None, time.monotonic() + 1000)], [[1], [2]]),
        ([([1], None, time.monotonic() + 1000.2), ([2], None, time.monotonic() + 1000)], [[1, 2]]),
    ],
)
def test_what_waits_goes_together(calls: list[tuple[Any, ...]], batches: list[list[int]]) -> None:
    stage = Stage()
    answers = in_line(Batcher(stage.run, most=4), stage, calls)
    assert [images for images, *_ in stage.batches[1:]] == batches
    # each caller has the results of its own images
    assert [[one.milliseconds for one in answer.result()] for answer in answers] == [call[0] for call in calls]
    for images, priors, until in stage.batches[1:]:
        mine = [call for call in calls if call[0][0] in images]
        assert priors is None or priors == [prior for call in mine for prior in call[1]]
        assert until == min(call[2] if len(call) > 2 else math.inf for call in mine)


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        # one image may break the stage: the others get their results, after a batch each
        (KeyError("13"), [[1, 13, 2], [1], [13], [2]]),
        # the stage itself is out of use: another batch would not help
        (StageTimeoutError("late"), [[1, 13, 2]]),
        (LoadError("gone"), [[1, 13, 2]]),
    ],
)
def test_an_image_that_breaks_the_stage_is_its_callers_alone(error: Exception, runs: list[list[int]]) -> None:
    def break_on(images: Sequence[Any]) -> None:
        if 13 in images:
            raise error

    stage = Stage(break_on)
    answers = in_line(Batcher(stage.run, most=4), stage, [([1],), ([13],), ([2],)])
    assert [images for images, *_ in stage.batches[1:]] == runs
    with pytest.raises(type(error)):
        answers[1].result()
    if len(runs) > 1:
        assert [one.milliseconds for answer in (answers[0], answers[2]) for one in answer.result()] == [1, 2]


@pytest.mark.parametrize(
    ("until", "wait_seconds", "expected"),
    [
        # the caller's deadline passes while another batch runs
        (0.1, math.inf, StageTimeoutError),
        # it had passed before
        (-1.0, math.inf, StageTimeoutError),
        # the stage is not free for long: the next stage gets its chance
        (30.0, 0.1, StageBusyError),
    ],
)
def test_late_work_is_dropped_before_it_is_run(until: float, wait_seconds: float, expected: type[Exception]) -> None:
    stage = Stage()
    batcher = Batcher(stage.run, most=4, wait_seconds=wait_seconds)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(batcher.call, [0])
        assert stage.begun.wait(10)
        with pytest.raises(expected):
            batcher.call([1], None, time.monotonic() + until)
        stage.gate.set()
        running.result()
    assert [images for images, *_ in stage.batches] == [[0]]
    # and nothing of it is left behind
    assert [one.milliseconds for one in batcher.call([2])] == [2]


def test_a_call_that_is_alone_waits_for_no_other() -> None:
    stage = Stage()
    stage.gate.set()
    batcher = Batcher(stage.run, most=4, window=30.0)
    start = time.monotonic()
    for image in range(3):
        batcher.call([image])
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("seconds", "batches"),
    [
        # four images would take a fifth of the limit
        (0.05, [[1, 2, 3, 4]]),
        # two take a quarter of it, and four would come close to it
        (0.5, [[1, 2], [3, 4]]),
        # even one takes more: alone it has its chance
        (3.0, [[1], [2], [3], [4]]),
    ],
)
def test_a_slow_machine_gets_smaller_batches(seconds: float, batches: list[list[int]]) -> None:
    stage = Stage()
    batcher = Batcher(stage.run, most=16, wait_seconds=4.0)
    batcher._note_pace(seconds)
    # the first batch runs on the clock of the test, which says nothing
    batcher._note_pace = lambda _: None  # type: ignore[method-assign]
    in_line(batcher, stage, [([1],), ([2],), ([3],), ([4],)])
    assert [images for images, *_ in stage.batches[1:]] == batches


def test_the_pace_is_that_of_the_last_batches() -> None:
    stage = Stage(lambda _: time.sleep(0.02))
    stage.gate.set()
    batcher = Batcher(stage.run, most=4)
    for _ in range(3):
        batcher.call([1, 2])
    assert 0.01 <= batcher._seconds_an_image < 1


def test_a_second_lane_takes_a_batch_as_large_as_the_one_that_runs() -> None:
    stage = Stage()
    batcher = Batcher(stage.run, most=8, lanes=2)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(batcher.call, [7, 8, 9])
        assert stage.begun.wait(10)
        two = [pool.submit(batcher.call, [1]), pool.submit(batcher.call, [2])]
        wait_for(lambda: len(batcher._line) == 2)
        # two images beside three would make a small batch; the third one completes it, and the gate is still closed
        third = pool.submit(batcher.call, [3])
        assert [answer.result(10)[0].milliseconds for answer in (*two, third)] == [1, 2, 3]
        assert not first.done()
        alone = pool.submit(batcher.call, [4])
        wait_for(lambda: len(batcher._line) == 1)
        assert not alone.done()
        stage.gate.set()
        assert alone.result(10)[0].milliseconds == 4
        assert [one.milliseconds for one in first.result(10)] == [7, 8, 9]
    assert [sorted(images) for images, *_ in stage.batches] == [[7, 8, 9], [1, 2, 3], [4]]


def test_what_waits_is_spread_over_the_lanes() -> None:
    stage = Stage()
    batcher = Batcher(stage.run, most=8, lanes=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.call, [0])
        assert stage.begun.wait(10)
        with batcher._lock:
            # five callers reach the line together
            others = [pool.submit(batcher.call, [number]) for number in range(1, 6)]
            time.sleep(0.05)
        assert {answer.result(10)[0].milliseconds for answer in others} == {1, 2, 3, 4, 5}
        stage.gate.set()
        first.result(10)
    assert max(len(images) for images, *_ in stage.batches) <= 3


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_many_threads_get_their_own_results(lanes: int) -> None:
    busy, most_busy, lock = 0, 0, threading.Lock()

    def count(images: Sequence[Any]) -> None:
        nonlocal busy, most_busy
        with lock:
            busy += 1
            most_busy = max(most_busy, busy)
        time.sleep(0.0005)
        with lock:
            busy -= 1

    stage = Stage(count)
    stage.gate.set()
    batcher = Batcher(stage.run, most=5, lanes=lanes)
    numbers = [[number, -number] for number in range(1, 301)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda pair: batcher.call([abs(one) for one in pair]), numbers))
    assert [[one.milliseconds for one in answer] for answer in answers] == [[pair[0]] * 2 for pair in numbers]
    assert sum(len(images) for images, *_ in stage.batches) == 600
    assert max(len(images) for images, *_ in stage.batches) <= 5
    assert most_busy <= lanes
