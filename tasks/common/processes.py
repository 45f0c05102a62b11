"""Pieces of work in processes of this machine, with their results in order: what feeds a card from all cores."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
LOOK_SECONDS = 1.0  # between two looks of a process at its parent

_function: Callable[[Any], Any] | None = None


def worker_count(asked: int | Literal["auto"], *, on_card: bool) -> int:
    """Processes for a parameter: of `auto` one for each core that this process may use, where a card waits for them.

    Without a card the cores compute what the pieces are for, and 0 leaves the pieces to one thread.
    """
    if asked != "auto":
        return asked
    return len(os.sched_getaffinity(0)) if on_card else 0


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Call a function for items, some of them ahead, and give the results in the order of the items.

    Args:
        function: depends on the item alone, and uses no card. Processes get it by fork, so what it holds is neither
            pickled nor copied.
        items: read in this thread, as they are wanted; pickled for processes.
        workers: processes; 0: one thread, one item ahead.

    Raises:
        RuntimeError: a process was ended from outside.
        Exception: what the function raises.
    """
    pool, call = _pool(function, workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > max(workers, 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a process that makes samples was ended, perhaps for want of memory; set fewer `processes`"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(function: Callable[[Item], Result], workers: int) -> tuple[Executor, Callable[[Item], Result]]:
    if not workers:
        return ThreadPoolExecutor(1), function
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(workers, context, _begin, (function, os.getpid())), _call


def _begin(function: Callable[[Any], Any], parent: int) -> None:
    """Make a process ready, and have it end with its parent, be that by SIGKILL: no pipe would tell it."""
    global _function
    _function = function
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def _call(item: Any) -> Any:
    assert _function is not None, "the pool's initializer has run"  # noqa: S101
    return _function(item)
