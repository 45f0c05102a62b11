"""How well a choice covers candidates: their distances to the nearest chosen or known one, and bounds of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.mining.space import Floats


@dataclass(frozen=True)
class Coverage:
    """Cosine distances of candidates to the nearest chosen or known one; those that a limit refuses do not count.

    Attributes:
        mean: of all of them.
        maximum: of all of them; k-center makes it small.
        bound: which the maximum cannot exceed, by the distances within shards and among their centres.
        least: below which no choice of as many, the exact one either, can bring it; 0 where nothing is known of it.
    """

    mean: float
    maximum: float
    bound: float
    least: float


@dataclass(frozen=True)
class Taken:
    """What was chosen from a shortlist, k of n rows.

    Attributes:
        picked: rows of the pool, (k,), in turn.
        apart: distance of each, when it was picked, to all that was known or chosen before, (k,).
        rows: of the shortlist, less those that were refused, (m,).
        left: distance of these to all that is known or chosen, (m,).
    """

    picked: NDArray[np.int64]
    apart: Floats
    rows: NDArray[np.int64]
    left: Floats


def least(taken: Taken, budget: int) -> float:
    """The chord that no choice of `budget` rows can stay below, from one greedy choice.

    Of budget + 1 rows that are all so far from each other and from what is known, two have the same nearest chosen one.
    """
    if len(taken.apart) < budget or not len(taken.left):
        return 0.0
    further = taken.apart[budget] if len(taken.apart) > budget else most(taken.left)
    return chord(float(min(taken.apart[:budget].min(), further))) / 2


def most(distance: Floats) -> float:
    """The largest of some distances, 0 where there are none."""
    return max(float(distance.max(initial=0)), 0.0)


def chord(distance: float) -> float:
    """The straight line between two unit vectors at a cosine distance."""
    return float(np.sqrt(2 * max(distance, 0.0)))


def cosine(line: float) -> float:
    """The cosine distance of two unit vectors at a straight line; 2, the largest one, for longer lines."""
    return min(line * line / 2, 2.0)
