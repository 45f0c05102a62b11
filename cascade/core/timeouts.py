"""Time limits of stages: a call runs in a thread of the stage that can be left behind when it hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class StageTimeoutError(RuntimeError):
    """A call did not come back in time."""


class StageBusyError(RuntimeError):
    """Too many earlier calls have not come back, so this one was not begun."""


class _Call(Generic[Result]):
    """One call and what came of it."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self.ended = Event()
        self._result: list[Result] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._result[0]


class _Worker:
    """A thread that runs calls one after the other until it is stopped; it does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    def start(self, call: _Call[Any]) -> None:
        self._calls.put(call)

    def stop(self) -> None:
        """End the thread once the call that runs is over."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            # an idle worker must not hold the images of its last call
            del call


class Timeouts:
    """Runs calls of one stage and waits for each only so long; calls may come from several threads.

    Threads are kept between calls, as many as there are calls at once: OpenMP makes a pool of threads for each thread
    that enters it, so a new thread a call would pay for a new pool. Python cannot stop a thread, so a call that hangs
    keeps its worker, and the next call gets another one. Once `most` calls hang, no further one is begun until one of
    them comes back.
    """

    def __init__(self, name: str, most: int = 2) -> None:
        self._name, self._most = name, most
        self._idle: list[_Worker] = []
        self._hanging: list[tuple[_Call[Any], _Worker]] = []
        self._lock = Lock()

    def call(self, function: Callable[[], Result], seconds: float) -> Result:
        """Give the function's result, or raise what it raises.

        Args:
            function: without arguments.
            seconds: how long to wait; infinity runs it in this thread.

        Raises:
            StageTimeoutError: it has not come back in time.
            StageBusyError: `most` earlier calls have not come back yet.
        """
        if seconds == float("inf"):
            return function()
        start = time.monotonic()
        call, worker = _Call(function), self._take_worker()
        worker.start(call)
        if not call.ended.wait(max(seconds, 0.0)):
            with self._lock:
                self._hanging.append((call, worker))
            raise StageTimeoutError(f"no answer within {time.monotonic() - start:.1f} s")
        with self._lock:
            self._idle.append(worker)
        return call.result()

    def close(self) -> None:
        """End the threads, those of hanging calls when they come back."""
        with self._lock:
            for worker in [*self._idle, *(worker for _, worker in self._hanging)]:
                worker.stop()
            self._idle, self._hanging = [], []

    def _take_worker(self) -> _Worker:
        with self._lock:
            self._idle += [worker for call, worker in self._hanging if call.ended.is_set()]
            self._hanging = [(call, worker) for call, worker in self._hanging if not call.ended.is_set()]
            if len(self._hanging) >= self._most:
                raise StageBusyError(f"{len(self._hanging)} earlier calls have not come back yet")
            return self._idle.pop() if self._idle else _Worker(f"stage-{self._name}")
