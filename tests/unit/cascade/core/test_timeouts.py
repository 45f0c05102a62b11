"""Calls that take too long are left behind and do not pile up; threads are kept between calls."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade.core.timeouts import StageBusyError, StageTimeoutError, Timeouts


def test_a_call_gives_its_result_or_its_error() -> None:
    timeouts = Timeouts("vlm")
    assert timeouts.call(lambda: 7, 5) == 7
    assert timeouts.call(lambda: 8, float("inf")) == 8
    with pytest.raises(KeyError):
        timeouts.call(lambda: {}["x"], 5)


def test_calls_that_hang_do_not_pile_up() -> None:
    gate, timeouts = threading.Event(), Timeouts("vlm", most=2)
    started: list[int] = []

    def hang() -> None:
        started.append(1)
        gate.wait(30)

    for _ in range(2):
        with pytest.raises(StageTimeoutError, match="no answer within"):
            timeouts.call(hang, 0.05)
    with pytest.raises(StageBusyError, match="2 earlier calls"):
        timeouts.call(hang, 0.05)
    assert len(started) == 2
    gate.set()
    # once they are back, the stage runs again
    for _ in range(100):
        try:
            assert timeouts.call(lambda: 7, 5) == 7
            break
        except StageBusyError:
            threading.Event().wait(0.01)
    else:
        pytest.fail("the stage stayed out of use")


def test_no_time_at_all() -> None:
    gate = threading.Event()
    with pytest.raises(StageTimeoutError):
        Timeouts("vlm").call(gate.wait, -1)
    gate.set()


def test_calls_run_in_the_same_thread_and_a_hung_one_is_replaced() -> None:
    gate, timeouts = threading.Event(), Timeouts("vlm")
    first = timeouts.call(threading.get_ident, 5)
    assert first != threading.get_ident()
    assert {timeouts.call(threading.get_ident, 5) for _ in range(20)} == {first}
    # an error does not end the thread
    with pytest.raises(ZeroDivisionError):
        timeouts.call(lambda: 1 / 0, 5)
    assert timeouts.call(threading.get_ident, 5) == first
    with pytest.raises(StageTimeoutError):
        timeouts.call(lambda: gate.wait(30), 0.05)
    second = timeouts.call(threading.get_ident, 5)
    assert second != first
    gate.set()


def test_calls_at_once_have_a_thread_each() -> None:
    timeouts, together = Timeouts("vlm"), threading.Barrier(3)

    def meet() -> int:
        together.wait(10)
        return threading.get_ident()

    with ThreadPoolExecutor(3) as pool:
        used = set(pool.map(lambda _: timeouts.call(meet, 10), range(3)))
    assert len(used) == 3
    # and no more are made afterwards
    assert timeouts.call(threading.get_ident, 5) in used


def test_an_idle_thread_holds_nothing_of_its_last_call() -> None:
    class Image:
        pass

    timeouts, image = Timeouts("vlm"), Image()
    gone = weakref.ref(image)
    assert timeouts.call(lambda held=image: held is not None, 5)
    del image
    gc.collect()
    assert gone() is None


def test_close_ends_the_threads() -> None:
    gate, timeouts = threading.Event(), Timeouts("close-me")
    with pytest.raises(StageTimeoutError):
        timeouts.call(lambda: gate.wait(30), 0.05)
    assert timeouts.call(lambda: 7, 5) == 7
    timeouts.close()
    gate.set()
    for thread in [one for one in threading.enumerate() if one.name == "stage-close-me"]:
        thread.join(5)
        assert not thread.is_alive()
