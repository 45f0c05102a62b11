"""Embeddings in a file: the rows that are asked for are read, and no page of the file stays mapped.

A memory map would do, but its pages count as memory of the process for as long as it is open, so that a pass over all
rows has the whole file resident.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

# rows that are read at once
RUN = 4096


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
    """Rows of a file of one number after the other.

    Args:
        file: descriptor to read it by; closed with this object.
        shape: (n, d).
        dtype: of a number.
        start: bytes before the first number.
    """

    def __init__(self, file: int, shape: tuple[int, int], dtype: DTypeLike = np.float32, start: int = 0) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._file, self._start, self._bytes = file, start, shape[1] * self.dtype.itemsize
        weakref.finalize(self, os.close, file)

    @classmethod
    def of_npy(cls, path: Path) -> StoredRows:
        """The rows of a file that `numpy.save` wrote.

        Raises:
            ValueError: it holds no matrix in C order.
        """
        mapped = np.load(path, mmap_mode="r")
        if mapped.ndim != 2 or not mapped.flags.c_contiguous:
            raise ValueError(f"{path}: expected a matrix in C order, got {mapped.shape}")
        return cls(os.open(path, os.O_RDONLY), (mapped.shape[0], mapped.shape[1]), mapped.dtype, mapped.offset)

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
            raise ValueError(f"the file of embeddings ends before row {first + count}; write it again")
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
    """Writes float32 rows, as they come, into a file without a name, which ends with the process at the latest.

    Args:
        folder: on the disk that has room for them.
        width: numbers of a row.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, path = tempfile.mkstemp(prefix="rows-", dir=folder)
        Path(path).unlink()
        self._width, self._count = width, 0

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, d)."""
        with open(self._file, "wb", closefd=False) as file:
            file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
        self._count += len(rows)

    def rows(self) -> StoredRows:
        """What was written; call it once, at the end."""
        return StoredRows(self._file, (self._count, self._width))


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
