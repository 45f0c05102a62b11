"""The greedy choice on a shortlist: what is taken next, and which rows quotas, copies and refusals rule out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import CUT
from tasks.mining.coverage import Coverage, Taken
from tasks.mining.space import Compared, Distances, Floats, Space, nearest
from tasks.mining.stored import Rows


@dataclass(frozen=True)
class Pool:
    """The candidates, n of them.

    Attributes:
        embeddings: float16 or float32, (n, d); may lie in a file, only shortlisted rows are read.
        probability: of roadwork, (n,); above 0.5 a picture counts as roadwork for the class quota.
        places: (n,); "" is unknown and falls under no quota.
        keys: (n,), unique, for example sha256: they settle ties, so that the order of the input does not matter.
        weight: how uncertain each is, (n,); by default from `probability`.
    """

    embeddings: Rows
    probability: NDArray[np.float64]
    places: Sequence[str]
    keys: Sequence[str]
    weight: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class SelectionLimits:
    """What holds for every selection.

    Attributes:
        budget: pictures, at most.
        shortlist: times the budget are weighed against each other at once.
        class_share: of the budget, rounded up, may be of one predicted class.
        place_quota: pictures of one place, at most.
        duplicate_distance: nothing chosen is nearer than this to another chosen or known picture.
        challenge_distance: nothing chosen is nearer than this to a held-out picture.
    """

    budget: int
    shortlist: int = 10
    class_share: float = 1.0
    place_quota: int = 1 << 30
    duplicate_distance: float = 0.0
    challenge_distance: float = 0.0

    @property
    def class_quota(self) -> int:
        """Pictures of one predicted class, at most."""
        return int(np.ceil(self.class_share * self.budget))


@dataclass
class Selection:
    """What was chosen, best first, and why others were not.

    Attributes:
        rows: indices into the pool.
        near_challenge: rows refused because a held-out picture is near.
        near_known: rows that show what is known already.
        near_chosen: rows dropped because one like them was chosen.
        coverage: of a choice by shards, how far candidates are from what is chosen or known.
    """

    rows: list[int] = field(default_factory=list)
    near_challenge: list[int] = field(default_factory=list)
    near_known: list[int] = field(default_factory=list)
    near_chosen: list[int] = field(default_factory=list)
    coverage: Coverage | None = None


class Greedy:
    """One selection under way: what is chosen, and what its quotas still allow.

    Args:
        pool: the candidates.
        limits: budget, quotas, distances.
        diverse: whether the weight is multiplied by the distance to all that is known or chosen.
        space: in which distances are measured.
        challenge: embeddings of held-out pictures, (m, d), or None.
        known: embeddings of labelled pictures, (k, d), or None.
        search: makes what measures distances to labelled pictures from their unit vectors.
    """

    def __init__(
        self,
        pool: Pool,
        limits: SelectionLimits,
        diverse: bool,
        space: Space,
        challenge: NDArray[Any] | None,
        known: NDArray[Any] | None,
        search: Callable[[Floats], Distances] = Compared,
    ) -> None:
        self.found = Selection()
        self._pool, self._limits, self._diverse, self._space = pool, limits, diverse, space
        self._classes = np.asarray(pool.probability) > CUT
        names, self._place = np.unique(np.asarray(pool.places, dtype=str), return_inverse=True)
        self._nowhere = np.flatnonzero(names == "")
        self._per_place: Counter[int] = Counter()
        self._per_class: Counter[bool] = Counter()
        width = pool.embeddings.shape[1]
        nothing = np.zeros((0, width), dtype=np.float32)
        self._challenge = Compared(nothing if challenge is None or not len(challenge) else space.unit(challenge))
        self._known = search(nothing if known is None or not len(known) else space.unit(known))
        self._chosen = nothing

    @property
    def full(self) -> bool:
        """Whether the budget is used up."""
        return len(self.found.rows) >= self._limits.budget

    def branch(self, budget: int) -> Greedy:
        """A choice of its own from here on, with another budget; this one does not see what it chooses."""
        other = copy(self)
        other.found, other._limits = Selection(), replace(self._limits, budget=budget)
        other._per_place, other._per_class = Counter(self._per_place), Counter(self._per_class)
        return other

    def bare(self) -> Greedy:
        """The same without what a choice does not read, to be sent to another process."""
        other = self.branch(self._limits.budget)
        other._pool = replace(self._pool, places=(), keys=(), weight=None)
        return other

    def distance(self, rows: NDArray[np.int64]) -> Floats:
        """Cosine distance of some rows of the pool, (n,), to the nearest known or chosen one, (n,)."""
        units = self._space.unit(self._pool.embeddings[rows])
        return np.minimum(self._known(units), nearest(units, self._chosen))

    def open_to(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows of the pool, (n,), the quotas of place and class still allow; (n,)."""
        classes = [kind for kind, count in self._per_class.items() if count >= self._limits.class_quota]
        places = [place for place, count in self._per_place.items() if count >= self._limits.place_quota]
        return ~np.isin(self._classes[rows], classes) & ~np.isin(self._place[rows], places)

    def take(self, rows: NDArray[np.int64], weight: NDArray[np.float64]) -> Taken:
        """Choose from a shortlist, as many as the budget still allows.

        Args:
            rows: of the pool, (n,).
            weight: how much each is wanted, (n,).

        Raises:
            ValueError: an embedding is not finite.
        """
        units = self._space.unit(self._pool.embeddings[rows])
        if not np.isfinite(units).all():
            raise ValueError("a candidate's embedding is not finite")
        rows, weight, units, distance = self._screen(rows, weight, units)
        free = np.ones(len(rows), dtype=bool)
        picked: list[int] = []
        reach: list[float] = []
        while free.any() and not self.full:
            score = weight * distance if self._diverse else weight
            best = int(np.argmax(np.where(free, score, -1.0)))
            self._count(int(rows[best]))
            picked.append(best)
            reach.append(float(distance[best]))
            free[best] = False
            apart = 1 - units @ units[best]
            close = free & (apart < self._limits.duplicate_distance)
            self.found.near_chosen.extend(int(row) for row in rows[close])
            free &= ~close & self.open_to(rows)
            np.minimum(distance, apart, out=distance)
        self._chosen = np.concatenate([self._chosen, units[picked]])
        return Taken(rows[picked], np.array(reach, dtype=np.float32), rows, distance)

    def _screen(
        self, rows: NDArray[np.int64], weight: NDArray[np.float64], units: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], Floats, Floats]:
        """Drop what is too near to held-out, known or chosen pictures; gives the rest and how far it is from them."""
        refused = self._challenge(units) < self._limits.challenge_distance
        to_known, to_chosen = self._known(units), nearest(units, self._chosen)
        stale = ~refused & (to_known < self._limits.duplicate_distance)
        copies = ~refused & ~stale & (to_chosen < self._limits.duplicate_distance)
        self.found.near_challenge.extend(int(row) for row in rows[refused])
        self.found.near_known.extend(int(row) for row in rows[stale])
        self.found.near_chosen.extend(int(row) for row in rows[copies])
        keep = ~(refused | stale | copies)
        return rows[keep], weight[keep], units[keep], np.minimum(to_known, to_chosen)[keep]

    def _count(self, row: int) -> None:
        self.found.rows.append(row)
        self._per_class[bool(self._classes[row])] += 1
        if self._place[row] not in self._nowhere:
            self._per_place[int(self._place[row])] += 1
