"""Calls that take too long are left behind, and do not pile up."""

from __future__ import annotations

import threading

import pytest

from cascade.core.timeouts import StageTimeoutError, Timeouts


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
    with pytest.raises(StageTimeoutError, match="2 earlier calls"):
        timeouts.call(hang, 0.05)
    assert len(started) == 2
    gate.set()
    # once they are back, the stage is asked again
    for _ in range(100):
        try:
            assert timeouts.call(lambda: 7, 5) == 7
            break
        except StageTimeoutError:
            threading.Event().wait(0.01)
    else:
        pytest.fail("the stage stayed out of use")


def test_no_time_at_all() -> None:
    with pytest.raises(StageTimeoutError):
        Timeouts("vlm").call(threading.Event().wait, -1)
