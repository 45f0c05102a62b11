"""Where pictures are compared: embeddings standardized by the training pictures, and cosine distance between them.

Raw embeddings of streets all point the same way: unrelated pictures are 0.02 apart there and copies 0.001. Standardized
by the mean and spread of the training split, unrelated pictures of the sample lie 0.25 to 0.65 apart, while re-encoded,
resized or slightly cropped copies stay below 0.15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 4096
NEIGHBOURS, FARTHEST = (0.6, 0.3, 0.1), 4
SAME = 1e-5


@dataclass(frozen=True)
class Space:
    """Mean and spread of every dimension, both float32 (d,)."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, embeddings: NDArray[Any]) -> Space:
        """Measure embeddings, (n, d); with fewer than two rows the space is left as it is."""
        width = embeddings.shape[1]
        if len(embeddings) < 2:
            return cls(np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32))
        wide = np.asarray(embeddings, dtype=np.float64)
        # a dimension that does not vary carries no information; divided by its spread it would dominate
        spread = wide.std(axis=0)
        return cls(wide.mean(axis=0).astype(np.float32), np.where(spread > 1e-6, spread, 1.0).astype(np.float32))

    def unit(self, embeddings: NDArray[Any]) -> Floats:
        """Standardize rows of any float type, (n, d), to float32 of length 1; a row of zeros stays zeros."""
        rows = (np.asarray(embeddings, dtype=np.float32) - self.mean) / self.scale
        return _of_length_one(rows)


class Distances(Protocol):
    """Cosine distance of rows to the nearest of a fixed set."""

    def __call__(self, units: Floats, /) -> Floats:
        """Measure unit rows, (n, d), to (n,)."""
        ...


class Compared:
    """Distances by comparing with all of some unit rows, (m, d)."""

    def __init__(self, centres: Floats) -> None:
        self._centres = centres

    def __call__(self, units: Floats) -> Floats:
        """See `Distances`."""
        return nearest(units, self._centres)


def nearest(units: Floats, centres: Floats) -> Floats:
    """Cosine distance, 0 to 2, of each unit row (n, d) to its nearest of `centres` (m, d); 2 where there are none."""
    best = np.full(len(units), 2.0, dtype=np.float32)
    for start in range(0, len(centres), BLOCK):
        np.minimum(best, 1 - (units @ centres[start : start + BLOCK].T).max(axis=1), out=best)
    return best


def uncertainty(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 at a probability of 0.5, 0 at 0 and 1 (least confidence, Lewis and Gale 1994); (n,) to (n,)."""
    return 2 * np.minimum(p, 1 - p)


def hardness(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy in nats, as FiftyOne Brain computes it from logits; (n,) to (n,)."""
    both = np.clip(np.stack([p, 1 - p]), 1e-12, 1)
    return np.asarray(-(both * np.log(both)).sum(axis=0))


def neighbour_distance(units: Floats, searched: Floats) -> NDArray[np.float64]:
    """Weighted cosine distance of rows (n, d) to their second to fourth nearest of `searched` (m, d), not themselves.

    This is what uniqueness rests on in FiftyOne Brain 0.25: it centres the rows, masks a row itself and then passes
    over the nearest of the rest. All n rows among all n is quadratic; a fixed sample of rows to search makes it linear.
    """
    if len(searched) < FARTHEST + 1:
        return np.ones(len(units))
    centre = searched.mean(axis=0)
    rows, others = _of_length_one(units - centre), _of_length_one(searched - centre)
    distance = np.maximum(1 - rows @ others.T, 0)
    near = np.sort(np.partition(distance, FARTHEST, axis=1)[:, : FARTHEST + 1], axis=1)
    # a row that is in the sample is its own nearest; one that is not must not lose another for it
    columns = (near[:, :1] < SAME).astype(int) + np.arange(1, FARTHEST)
    weighed = np.take_along_axis(near, columns, axis=1) * np.asarray(NEIGHBOURS)
    return np.asarray(weighed.mean(axis=1), dtype=np.float64)


def uniqueness(units: Floats) -> NDArray[np.float64]:
    """How far each row is from its neighbours, 1 for the most unique, as FiftyOne Brain defines it; (n,)."""
    distance = neighbour_distance(units, units)
    return distance / max(float(distance.max(initial=0)), 1e-12)


def _of_length_one(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0), dtype=np.float32)
