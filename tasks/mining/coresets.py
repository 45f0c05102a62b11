"""k-center greedy over shards: each shard hands on its centres, and the choice is made among the centres of all shards.

The centres of a shard are a composable core-set of it (Malkomes et al. 2015, Fast distributed k-center clustering with
outliers on massive data): with r the largest distance in a shard to its centres, and R that of the centres to what is
chosen from them, no candidate is farther than r + R from a chosen one. Greedy distances are at most twice the best ones
(Gonzalez 1985), so r + R is at most four times the best maximum, where each shard hands on as many as are chosen at
the end and weights are alike. What a run lost is measured and bounded from its own distances, whatever the weights:
see `Coverage`.

The triangle inequality holds for the chord of two unit vectors, whose square is twice their cosine distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.mining.coverage import Coverage, Taken, chord, cosine, least, most
from tasks.mining.greedy import Greedy, Pool
from tasks.mining.space import Floats


@dataclass(frozen=True)
class Shard:
    """Rows of the pool, (n,), in the order of a shortlist, and how much each is wanted, (n,)."""

    rows: NDArray[np.int64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Centres:
    """What a shard hands on, and the rows that it refused for good."""

    taken: Taken
    near_challenge: list[int]
    near_known: list[int]


class CentreChooser:
    """Chooses the centres of a shard, whatever others do; small to pickle where the embeddings lie in a file.

    Args:
        greedy: the selection so far.
        centres: of a shard, at most.
    """

    def __init__(self, greedy: Greedy, centres: int) -> None:
        self._greedy, self._centres = greedy, centres

    def __call__(self, shard: Shard) -> Centres:
        """Choose from a shard."""
        branch = self._greedy.branch(self._centres)
        taken = branch.take(shard.rows, shard.weight)
        return Centres(taken, branch.found.near_challenge, branch.found.near_known)


# gives the centres of shards, in the order of these
Spread = Callable[[CentreChooser, Sequence[Shard]], Iterable[Centres]]


def in_turn(chooser: CentreChooser, shards: Sequence[Shard]) -> Iterator[Centres]:
    """Work on the shards in this process."""
    yield from map(chooser, shards)


@dataclass(frozen=True)
class Shards:
    """How a shortlist is cut.

    Attributes:
        rows: of a shard, at most; as float32, four times over, they must fit in memory.
        centres: times the budget that a shard hands on; below 1 the factor of four does not hold, the bound does.
        spread: works on the shards, here or elsewhere (`tasks.scale.mine.spread_on`).
    """

    rows: int
    centres: float = 1.0
    spread: Spread = in_turn


class ShardedChoice:
    """A greedy choice from shortlists, each cut into shards where it is larger than one.

    Args:
        greedy: the selection under way, at its start.
        pool: its candidates.
        weight: how much each row of the pool is wanted, (n,).
        budget: of the selection.
        shards: how shortlists are cut.
    """

    def __init__(self, greedy: Greedy, pool: Pool, weight: NDArray[np.float64], budget: int, shards: Shards) -> None:
        self._greedy, self._pool, self._weight, self._budget, self._shards = greedy, pool, weight, budget, shards
        self._considered: list[NDArray[np.int64]] = []
        self._handed: list[NDArray[np.int64]] = []
        self._radius = 0.0
        self._least: float | None = None

    def take(self, rows: NDArray[np.int64]) -> None:
        """Choose from a shortlist of rows of the pool, (n,), as many as the budget still allows."""
        first = True
        # a round that leaves budget was used up by quotas and copies, and the next one goes on with the rest
        while len(rows) and not self._greedy.full:
            taken = self._round(rows)
            if first:
                self._considered += [one.rows for one in taken]
                self._radius = max(self._radius, *(chord(most(one.left)) for one in taken))
                first = False
            if len(rows) <= self._shards.rows:
                break
            rows = np.setdiff1d(np.concatenate([one.rows for one in taken]), self._handed[-1])
            rows = rows[self._greedy.open_to(rows)]

    def coverage(self) -> Coverage:
        """Measure all rows that were not refused, a shard at a time; call it when the choice is made."""
        total, farthest, count = 0.0, 0.0, 0
        for found in self._distances(self._considered):
            total += float(found.sum(dtype=np.float64))
            farthest, count = max(farthest, most(found)), count + len(found)
        among = max(map(most, self._distances(self._handed)), default=0.0)
        bound = cosine(self._radius + chord(among))
        return Coverage(total / max(count, 1), farthest, bound, cosine(self._least or 0.0))

    def _round(self, rows: NDArray[np.int64]) -> list[Taken]:
        """Choose once from rows; gives the choice of each shard."""
        if len(rows) <= self._shards.rows:
            taken = [self._greedy.take(rows, self._weight[rows])]
            final = taken[0]
            self._handed.append(final.picked)
        else:
            taken = list(self._centres(rows))
            among = np.concatenate([one.picked for one in taken])
            final = self._greedy.take(among, self._weight[among])
            self._handed.append(among)
        if self._least is None:
            self._least = max(least(one, self._budget) for one in (*taken, final))
        return taken

    def _cut(self, rows: NDArray[np.int64]) -> Iterator[Shard]:
        """Shards of about one size, by key: a digest puts a picture into one at random, in whatever order they came."""
        order = rows[np.argsort(np.asarray(self._pool.keys)[rows], kind="stable")]
        for part in np.array_split(order, -(-len(order) // self._shards.rows)):
            sorted_part = part[np.argsort(-self._weight[part], kind="stable")]
            yield Shard(sorted_part, self._weight[sorted_part])

    def _centres(self, rows: NDArray[np.int64]) -> Iterator[Taken]:
        count = max(int(np.ceil(self._shards.centres * self._budget)), 1)
        for one in self._shards.spread(CentreChooser(self._greedy.bare(), count), list(self._cut(rows))):
            self._greedy.found.near_challenge += one.near_challenge
            self._greedy.found.near_known += one.near_known
            yield one.taken

    def _distances(self, many: Sequence[NDArray[np.int64]]) -> Iterator[Floats]:
        size = self._shards.rows
        for rows in many:
            for start in range(0, len(rows), size):
                yield self._greedy.distance(rows[start : start + size])
