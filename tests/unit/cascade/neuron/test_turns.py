"""Turns at the service: the order, and that none is lost."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from cascade.neuron.nonces import MOST, Nonces
from cascade.neuron.turns import Turns


def test_the_highest_priority_goes_first_and_among_equals_the_first() -> None:
    order: list[str] = []

    async def one(turns: Turns, name: str, priority: float) -> None:
        async with turns.turn(priority):
            order.append(name)
            await asyncio.sleep(0)

    async def run() -> None:
        turns = Turns(1)
        stakes = {"running": 0.0, "poor": 1.0, "rich": 9.0, "poor too": 1.0, "richest": 10.0}
        await asyncio.gather(*(one(turns, name, stake) for name, stake in stakes.items()))

    asyncio.run(run())
    assert order == ["running", "richest", "rich", "poor", "poor too"]


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.floats(0, 9), st.integers(0, 4), st.sampled_from(["ends", "fails", "gives up"])), max_size=20
    ),
)
def test_no_turn_is_lost_and_no_two_many_run(at_once: int, tasks: list[tuple[float, int, str]]) -> None:
    running = most = 0

    async def one(turns: Turns, priority: float, steps: int, end: str) -> None:
        nonlocal running, most
        async with turns.turn(priority):
            running += 1
            most = max(most, running)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
                if end == "fails":
                    raise RuntimeError
            finally:
                running -= 1

    async def run() -> None:
        turns = Turns(at_once)
        started = [asyncio.create_task(one(turns, *task)) for task in tasks]
        await asyncio.sleep(0)
        for task, (_, steps, end) in zip(started, tasks, strict=True):
            if end == "gives up":
                await asyncio.sleep(0) if steps % 2 else None
                task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
        # all turns are free again
        async with asyncio.timeout(1), contextlib.AsyncExitStack() as stack:
            for _ in range(at_once):
                await stack.enter_async_context(turns.turn(0.0))

    asyncio.run(run())
    assert most <= at_once


def test_nonces_end_somewhere_and_the_latest_stay() -> None:
    nonces = Nonces()
    nonces["first"] = 1
    for number in range(MOST):
        nonces[str(number)] = number
        nonces["first"] = number
    assert len(nonces) == MOST
    assert (nonces.get("0"), nonces.get("first"), nonces.get(str(MOST - 1))) == (None, MOST - 1, MOST - 1)
