"""Calls that may take too long: they run in a thread that can be left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")


class StageTimeoutError(RuntimeError):
    """A call did not come back in time, or too many earlier ones have not yet."""


class _Call(Generic[Result]):
    """One call and what came of it."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self.ended = Event()
        self.result: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._function())
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()


class Timeouts:
    """Runs calls of one stage and waits for each only so long.

    Python cannot stop a thread, so a call that hangs keeps its own; once `most` hang, no further one is begun until one
    of them comes back. The threads do not keep the process from ending.
    """

    def __init__(self, name: str, most: int = 2) -> None:
        self._name, self._most = name, most
        self._left: list[Event] = []
        self._lock = Lock()

    def call(self, function: Callable[[], Result], seconds: float) -> Result:
        """Give the function's result, or raise what it raises.

        Args:
            function: without arguments.
            seconds: how long to wait; infinity runs it in this thread.

        Raises:
            StageTimeoutError: it has not come back; or `most` earlier ones have not, and it was not begun.
        """
        if seconds == float("inf"):
            return function()
        self._refuse_more()
        call = _Call(function)
        start = time.monotonic()
        Thread(target=call.run, name=f"stage-{self._name}", daemon=True).start()
        if not call.ended.wait(max(seconds, 0.0)):
            with self._lock:
                self._left.append(call.ended)
            raise StageTimeoutError(f"no answer within {time.monotonic() - start:.1f} s")
        if call.error is not None:
            raise call.error
        return call.result[0]

    def _refuse_more(self) -> None:
        with self._lock:
            self._left = [ended for ended in self._left if not ended.is_set()]
            if len(self._left) >= self._most:
                raise StageTimeoutError(f"{len(self._left)} earlier calls have not come back yet")
