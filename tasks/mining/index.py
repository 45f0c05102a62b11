"""Near-duplicates by an index of FAISS (extra `index`), in place of comparing all candidates with all that is labelled.

Both searches find what the comparison of all finds:

- Hashes are cut into four parts of 16 bits. Two that differ in at most b bits differ in at most b // 4 of one of them,
  so looking up each part with so many bits flipped misses none (multi-index hashing, Norouzi et al. 2012).
- Embeddings lie in lists around centres. An angle to a list's centre, less the largest one of a member, is a lower
  bound of the angle to its members; all lists that may hold a near one are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.extras import require
from tasks.mining.space import Compared, Distances, Floats

PURPOSE = "scale.selection.near_duplicates: index"
PARTS, PART_BITS = 4, 16
BLOCK = 4096
# below it lists would not pay
LEAST_ROWS = 4096
ITERATIONS, POINTS_A_LIST, SEED = 10, 40, 7
# radians: more than the rounding of a product, also where the cosine is flat
SLACK = 2e-3


def search_hashes(first: NDArray[np.uint64], second: NDArray[np.uint64], bits: int) -> Iterator[tuple[int, int, int]]:
    """Find hashes that differ in few bits, as `tasks.data.near_duplicates.compare_hashes` does, in the same order.

    Raises:
        MissingExtraError: FAISS is not installed.
    """
    require(PURPOSE, "faiss")
    import faiss

    index = faiss.IndexBinaryMultiHash(PARTS * PART_BITS, PARTS, PART_BITS)
    index.nflip = bits // PARTS
    index.add(_codes(second))
    for start in range(0, len(first), BLOCK):
        # it gives what is nearer than the radius
        limits, apart, found = index.range_search(_codes(first[start : start + BLOCK]), bits + 1)
        rows = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64))) + start
        for at in np.lexsort((found, rows)):
            yield int(rows[at]), int(found[at]), int(apart[at])


def _codes(hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, PARTS * PART_BITS // 8)


class IndexedUnits:
    """Distances to many unit vectors by lists around centres.

    Args:
        units: float32 of length 1, (m, d).
        probes: lists that are read at least, the nearest first.

    Raises:
        MissingExtraError: FAISS is not installed.
    """

    def __init__(self, units: Floats, probes: int) -> None:
        require(PURPOSE, "faiss")
        import faiss

        count, width = units.shape
        self._lists = int(np.sqrt(count))
        self._probes = min(probes, self._lists)
        quantizer = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFFlat(quantizer, width, self._lists, faiss.METRIC_INNER_PRODUCT)
        clusters = self._index.cp
        clusters.spherical, clusters.seed, clusters.niter = True, SEED, ITERATIONS
        clusters.max_points_per_centroid = POINTS_A_LIST
        rows = np.ascontiguousarray(units)
        self._index.train(rows)
        self._index.add(rows)
        self._centres = np.asarray(quantizer.reconstruct_n(0, self._lists), dtype=np.float32)
        self._radius = np.array([self._radius_of(number, rows, faiss) for number in range(self._lists)])

    def __call__(self, units: Floats, within: float) -> Floats:
        """See `tasks.mining.space.Distances`."""
        parts = [self._search(units[at : at + BLOCK], within) for at in range(0, len(units), BLOCK)]
        return np.concatenate([np.zeros(0, dtype=np.float32), *parts])

    def _radius_of(self, number: int, units: Floats, faiss: Any) -> float:
        """The largest angle of a list's members to its centre; below all others where it has none."""
        size = self._index.invlists.list_size(number)
        if not size:
            return -np.pi
        members = faiss.rev_swig_ptr(self._index.invlists.get_ids(number), size)
        return float(_angle(units[members] @ self._centres[number]).max())

    def _search(self, units: Floats, within: float) -> Floats:
        near = units @ self._centres.T
        lists = self._lists_of(_angle(near), float(_angle(np.array(1 - within))))
        self._index.nprobe = lists.shape[1]
        coarse = np.take_along_axis(near, np.maximum(lists, 0), axis=1)
        best, _ = self._index.search_preassigned(np.ascontiguousarray(units), 1, lists, np.ascontiguousarray(coarse))
        # -inf, in a word, where all lists that were read are empty
        return np.asarray(np.minimum(1 - best[:, 0], 2), dtype=np.float32)

    def _lists_of(self, angle: NDArray[np.float64], within: float) -> NDArray[np.int64]:
        """The lists to read of each row, -1 where it needs no more, (n, most)."""
        needed = angle - self._radius <= within + SLACK
        count = np.maximum(needed.sum(axis=1), self._probes)
        order = np.argsort(np.where(needed, angle - 2 * np.pi, angle), axis=1, kind="stable")[:, : count.max(initial=1)]
        return np.where(np.arange(order.shape[1]) < count[:, None], order, -1).astype(np.int64)


def indexed(probes: int, units: Floats) -> Distances:
    """Distances to unit vectors, (m, d): by an index where there are many, else by comparing with all of them."""
    return IndexedUnits(units, probes) if len(units) >= LEAST_ROWS else Compared(units)


def _angle(cosine: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.arccos(np.clip(cosine.astype(np.float64), -1, 1)))
