"""Feature maps of frozen layers on disk: a view is looked at by the backbone once, and trained on many times.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Key = tuple[int, int]


class FeatureCache:
    """A memory-mapped table of one row a view.

    A row counts once its mark is set, which happens after the row was written, so a killed run leaves no half of one.

    Args:
        folder: its name stands for all that the rows depend on.
        pictures, draws: rows are numbered picture * draws + draw.
        shape: of one row: (channels, side, side), bf16.
    """

    def __init__(self, folder: Path, pictures: int, draws: int, shape: tuple[int, int, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._draws, count = draws, pictures * draws
        # numpy knows no bf16: the same 16 bits as integers
        rows, marks = folder / "rows.bin", folder / "there.bin"
        if not _fits(rows, np.int16, (count, *shape)):
            # marks of rows that are gone
            marks.unlink(missing_ok=True)
        self._rows = _mapped(rows, np.int16, (count, *shape))
        self._there = _mapped(marks, np.uint8, (count,))

    def get(self, keys: Sequence[Key], compute: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """Give the rows of a batch, computing those that are missing.

        Args:
            keys: picture and draw of each.
            compute: makes the rows at the given positions of `keys`.

        Returns:
            bf16, (n, channels, side, side).
        """
        rows = [picture * self._draws + draw for picture, draw in keys]
        missing = [position for position, row in enumerate(rows) if not self._there[row]]
        if missing:
            fresh = compute(missing).bfloat16().cpu().contiguous().view(torch.int16).numpy()
            for position, value in zip(missing, fresh, strict=True):
                self._rows[rows[position]] = value
                self._there[rows[position]] = 1
        return torch.from_numpy(np.array(self._rows[rows])).view(torch.bfloat16)


def _mapped(path: Path, kind: type[np.int16 | np.uint8], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.memmap(path, dtype=kind, mode="r+" if _fits(path, kind, shape) else "w+", shape=shape)


def _fits(path: Path, kind: type[np.int16 | np.uint8], shape: tuple[int, ...]) -> bool:
    return path.is_file() and path.stat().st_size == int(np.prod(shape)) * np.dtype(kind).itemsize
