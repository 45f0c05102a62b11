"""Near-duplicates by an index of FAISS (extra `index`), in place of comparing all candidates with all that is labelled.

Hashes are cut into four parts of 16 bits. Two that differ in at most b bits differ in at most b // 4 of one of them, so
looking up each part with so many bits flipped misses none (multi-index hashing, Norouzi et al. 2012).

Embeddings lie in lists around centres (Jegou et al. 2011), of which the nearest few are read. A neighbour in another
list is missed, and a distance then comes out too large; docs/mining.md has the recall that was measured. Distances to
held-out pictures are never taken from an index: a leak must not be a matter of recall.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cascade.extras import require
from tasks.mining.space import Compared, Distances, Floats

PURPOSE = "scale.selection.near_duplicates: index"
PARTS, PART_BITS = 4, 16
BLOCK = 4096
# below it lists would not pay
LEAST_ROWS = 10_000
ITERATIONS, POINTS_A_LIST, SEED = 10, 40, 7


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
        probes: lists that are read for each row.

    Raises:
        MissingExtraError: FAISS is not installed.
    """

    def __init__(self, units: Floats, probes: int) -> None:
        require(PURPOSE, "faiss")
        import faiss

        count, width = units.shape
        lists = int(np.sqrt(count))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        clusters = self._index.cp
        clusters.spherical, clusters.seed, clusters.niter = True, SEED, ITERATIONS
        clusters.max_points_per_centroid = POINTS_A_LIST
        rows = np.ascontiguousarray(units)
        self._index.train(rows)
        self._index.add(rows)
        self._index.nprobe = min(probes, lists)

    def __call__(self, units: Floats) -> Floats:
        """See `tasks.mining.space.Distances`; a distance is that of the nearest in the lists that were read."""
        best, _ = self._index.search(np.ascontiguousarray(units), 1)
        # below any cosine where all lists that were read are empty
        return np.asarray(np.minimum(1 - best[:, 0], 2), dtype=np.float32)


def indexed(probes: int, units: Floats) -> Distances:
    """Distances to unit vectors, (m, d): by an index where there are many, else by comparing with all of them."""
    return IndexedUnits(units, probes) if len(units) >= LEAST_ROWS else Compared(units)
