"""Embeddings in a file: the rows that are asked for are read, and no page of the file stays mapped.

A memory map would do, but its pages count as memory of the process for as long as it is open, so that a pass over all
rows has the whole file resident.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

# rows that are read at once
RUN = 4096
PREFIX = "rows-"


class Rows(Protocol):
    """What embeddings are read from, (n, d): an array, a memory map, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Some rows, as numpy indexes the first axis."""
        ...


class StoredRows:
    """Rows of a file of one number after the other; in another process they are read from the same path.

    Args:
        path: of the file.
        shape: (n, d).
        dtype: of a number.
        start: bytes before the first number.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, shape: tuple[int, int], dtype: DTypeLike = np.float32, start: int = 0) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._path, self._start, self._bytes = path.absolute(), start, shape[1] * self.dtype.itemsize
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self._path, self.shape, self.dtype, self._start)

    @classmethod
    def of_npy(cls, path: Path) -> StoredRows:
        """The rows of a file that `numpy.save` wrote.

        Raises:
            ValueError: it holds no matrix in C order.
        """
        mapped = np.load(path, mmap_mode="r")
        if mapped.ndim != 2 or not mapped.flags.c_contiguous:
            raise ValueError(f"{path}: expected a matrix in C order, got {mapped.shape}")
        return cls(path, (mapped.shape[0], mapped.shape[1]), mapped.dtype, mapped.offset)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read rows by number, slice, mask or array of numbers.

        Raises:
            IndexError: there is no such row.
            ValueError: the file ends before them.
        """
        wanted = np.arange(len(self))[rows]
        flat = np.atleast_1d(wanted)
        order = np.argsort(flat, kind="stable")
        found = np.empty((len(flat), self.shape[1]), dtype=self.dtype)
        for run in _runs(flat[order]):
            found[order[run]] = self._read(int(flat[order[run.start]]), run.stop - run.start)
        return found if np.ndim(wanted) else found[0]

    def _read(self, first: int, count: int) -> NDArray[Any]:
        data = os.pread(self._file, count * self._bytes, self._start + first * self._bytes)
        if len(data) != count * self._bytes:
            raise ValueError(f"{self._path}: ends before row {first + count}; write it again")
        return np.frombuffer(data, dtype=self.dtype).reshape(count, self.shape[1])


class Subset:
    """Some rows of others, under new numbers; nothing is read before it is asked for."""

    def __init__(self, rows: Rows, chosen: NDArray[np.int64]) -> None:
        self._rows, self._chosen = rows, chosen
        self.shape = (len(chosen), rows.shape[1])

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """See `Rows`."""
        return np.asarray(self._rows[self._chosen[rows]])


class RowWriter:
    """Writes float32 rows, as they come, into a file that goes with them; the next writer removes those of killed runs.

    Args:
        folder: on the disk that has room for them.
        width: numbers of a row.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left(folder)
        file, name = tempfile.mkstemp(prefix=PREFIX, dir=folder)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file, self._path, self._width, self._count = file, Path(name), width, 0
        self._end = weakref.finalize(self, _remove, file, self._path)

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, d)."""
        with open(self._file, "wb", closefd=False) as file:
            file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
        self._count += len(rows)

    def rows(self) -> StoredRows:
        """What was written; call it once, at the end."""
        found = StoredRows(self._path, (self._count, self._width))
        self._end.detach()
        weakref.finalize(found, _remove, self._file, self._path)
        return found


def _remove(file: int, path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(file)


def _remove_left(folder: Path) -> None:
    """Remove the files whose process has ended: it held their lock."""
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


class RowList:
    """The same in memory."""

    def __init__(self, width: int) -> None:
        self._parts = [np.zeros((0, width), dtype=np.float32)]

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, d)."""
        self._parts.append(rows)

    def rows(self) -> NDArray[np.float32]:
        """What was written, float32."""
        return np.concatenate(self._parts).astype(np.float32, copy=False)


def _runs(rows: NDArray[np.int64]) -> Iterator[slice]:
    """Where sorted numbers follow each other without a gap, as slices of them, each of `RUN` at most."""
    ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        for start in range(begin, end, RUN):
            yield slice(start, min(start + RUN, end))
