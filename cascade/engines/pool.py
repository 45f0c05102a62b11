"""A fixed number of objects, each of which serves one thread at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Infer requests or execution contexts.

    Args:
        items: what is lent; the pool never grows.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._free: SimpleQueue[T] = SimpleQueue()
        for item in items:
            self._free.put(item)

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """Lend one for the length of a block; waits while all are lent."""
        item = self._free.get()
        try:
            yield item
        finally:
            self._free.put(item)

    def clear(self) -> None:
        """Drop all that are not lent."""
        while not self._free.empty():
            self._free.get()
