"""Near-duplicates: the same picture saved twice, found by a perceptual hash and confirmed on its thumbnail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SIDE = 32
# grey levels: below it a thumbnail is a wall, fog or night, and the signs of its frequencies are noise
MIN_DETAIL = 2.0
# mean gap of two thumbnails as a share of their contrast, brightness taken out; re-encoding stays far below
MAX_GAP = 0.2
BLOCK, THUMBNAILS = 1024, 8192
# of two arrays of hashes, and the bits in which a pair may differ
Search = Callable[[NDArray[np.uint64], NDArray[np.uint64], int], Iterator[tuple[int, int, int]]]


def thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    """Shrink a picture to grey levels, uint8 (32, 32)."""
    from PIL import Image as pil

    return np.asarray(image.convert("L").resize((SIDE, SIDE), pil.Resampling.BOX), dtype=np.uint8)


def perceptual_hash(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash thumbnails, (n, 32, 32), to 64 bits each, (n,): signs of low frequencies about their median.

    Like pHash (Zauner 2010), but without the frequencies that vary along one axis only: bright sky above dark road is
    common to all streets and would make unrelated pictures similar.
    """
    index = np.arange(SIDE)
    cosine = np.cos(np.pi * (2 * index + 1) * np.arange(1, 9)[:, None] / (2 * SIDE))
    low = np.einsum("ai,nij,bj->nab", cosine, thumbnails.astype(np.float64), cosine).reshape(len(thumbnails), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def has_detail(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which thumbnails, (n, 32, 32), show more than a gradient: a hash cannot distinguish the others."""
    grey = thumbnails.astype(np.float64)
    rest = grey - grey.mean(1, keepdims=True) - grey.mean(2, keepdims=True) + grey.mean((1, 2), keepdims=True)
    return np.asarray(rest.std(axis=(1, 2)) >= MIN_DETAIL)


def compare_hashes(first: NDArray[np.uint64], second: NDArray[np.uint64], bits: int) -> Iterator[tuple[int, int, int]]:
    """Compare all hashes, (n,), with all others, (m,); gives pairs by index and the bits in which they differ."""
    for start in range(0, len(first), BLOCK):
        distance = np.bitwise_count(first[start : start + BLOCK, None] ^ second[None, :])
        for i, j in np.argwhere(distance <= bits):
            yield int(start + i), int(j), int(distance[i, j])


def near_pairs(
    first: NDArray[np.uint8], second: NDArray[np.uint8], bits: int, search: Search = compare_hashes
) -> Iterator[tuple[int, int, int]]:
    """Find pairs across two sets of thumbnails.

    Args:
        first: grey levels, (n, 32, 32).
        second: grey levels, (m, 32, 32).
        bits: in which the hashes of a pair may differ, at most.
        search: finds the pairs of hashes; `tasks.mining.index` has one that does not compare all of them.

    Yields:
        Index in the first set, index in the second, and the bits in which their hashes differ, at most `bits`.
    """
    if not len(first) or not len(second):
        return
    (rows_a, hash_a), (rows_b, hash_b) = _hashes(first), _hashes(second)
    for i, j, distance in search(hash_a, hash_b, bits):
        a, b = int(rows_a[i]), int(rows_b[j])
        if _gap(first[a], second[b]) <= MAX_GAP:
            yield a, b, distance


def _hashes(thumbnails: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Rows of the thumbnails with detail, and their hashes; a block at a time, since both are worked out in floats."""
    blocks = [thumbnails[start : start + THUMBNAILS] for start in range(0, len(thumbnails), THUMBNAILS)]
    rows = np.flatnonzero(np.concatenate([has_detail(block) for block in blocks]))
    return rows, np.concatenate([perceptual_hash(block) for block in blocks])[rows]


def _gap(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    a, b = first.astype(np.float64), second.astype(np.float64)
    contrast = max((a.std() + b.std()) / 2, MIN_DETAIL)
    return float(np.abs((a - a.mean()) - (b - b.mean())).mean() / contrast)
