"""What to label: uncertain and diverse pictures under a budget; quotas hold, copies and held-out pictures stay out.

Two steps, so that the cost is about linear in the candidates. A shortlist of the most uncertain is cut off by sorting
probabilities, which touches no embedding. On it, pictures are taken one at a time where uncertainty times distance to
all that is known or chosen is largest: k-center greedy (Gonzalez 1985; Sener and Savarese 2018), weighted. Where
quotas, copies and refusals use a shortlist up before the budget is, the next one follows.

The approximation: a picture below the cut is not weighed against those above it while these suffice. Within a shortlist
distances are exact, and so the limits hold exactly. A shortlist that does not fit in memory is cut into shards
(`tasks.mining.coresets`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.mining.coresets import ShardedChoice, Shards
from tasks.mining.greedy import Greedy, Pool, Selection, SelectionLimits
from tasks.mining.space import Compared, Distances, Floats, Space, hardness, neighbour_distance, uncertainty

Strategy = Literal["uncertain_diverse", "hardness", "uniqueness", "random"]
SAMPLE = 4096  # rows among which `uniqueness` searches for neighbours


def select(
    pool: Pool,
    limits: SelectionLimits,
    *,
    strategy: Strategy = "uncertain_diverse",
    space: Space | None = None,
    challenge: NDArray[Any] | None = None,
    known: NDArray[Any] | None = None,
    seed: int = 0,
    shards: Shards | None = None,
    search: Callable[[Floats], Distances] = Compared,
) -> Selection:
    """Choose pictures for labelling.

    Args:
        pool: the candidates.
        limits: budget, quotas, distances.
        strategy: the measure that pictures are ranked by; all obey the same limits.
        space: in which distances are measured; by default embeddings as they are.
        challenge: embeddings of held-out pictures, (m, d).
        known: embeddings of labelled pictures, (k, d): copies of them are dropped, and distance from them counts.
        seed: for `random`.
        shards: cuts a shortlist that is larger than one of them, for `uncertain_diverse`; None: never.
        search: makes what measures distances to labelled pictures from their unit vectors, (m, d).

    Raises:
        ValueError: arrays of different lengths, keys that repeat, or numbers that are not finite.
    """
    _check(pool)
    space = space or Space.of(pool.embeddings[:1])
    weight = _weight(pool, strategy, space, seed)
    diverse = strategy == "uncertain_diverse"
    greedy = Greedy(pool, limits, diverse, space, challenge, known, search)
    sharded = ShardedChoice(greedy, pool, weight, limits.budget, shards) if diverse and shards else None
    # by weight, ties by key: the same whatever order the candidates came in
    order = np.lexsort((np.asarray(pool.keys), -weight))
    for rows in _shortlists(order, limits.shortlist * limits.budget, greedy):
        if sharded is None:
            greedy.take(rows, weight[rows])
        else:
            sharded.take(rows)
    if sharded is not None:
        greedy.found.coverage = sharded.coverage()
    return greedy.found


def _check(pool: Pool) -> None:
    lengths = {len(pool.embeddings), len(pool.probability), len(pool.places), len(pool.keys)}
    if len(lengths) != 1 or (pool.weight is not None and len(pool.weight) not in lengths):
        raise ValueError(f"candidates need one embedding, probability, place and key each, got {sorted(lengths)}")
    if len(set(pool.keys)) != len(pool.keys):
        raise ValueError("candidates repeat a key; drop exact duplicates first")
    if not np.isfinite(pool.probability).all():
        raise ValueError("a candidate's probability is not a finite number")


def _weight(pool: Pool, strategy: Strategy, space: Space, seed: int) -> NDArray[np.float64]:
    if strategy == "random":
        digests = [hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8] for key in pool.keys]
        return np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests], dtype=np.float64)
    if strategy == "hardness":
        return hardness(pool.probability)
    if strategy == "uniqueness":
        sample = np.sort(np.argsort(np.asarray(pool.keys))[:SAMPLE])
        others = space.unit(pool.embeddings[sample])
        starts = range(0, len(pool.keys), SAMPLE)
        parts = [neighbour_distance(space.unit(pool.embeddings[at : at + SAMPLE]), others) for at in starts]
        # rounded, since the last bits of a product depend on the shape of its block
        return np.round(np.concatenate([np.zeros(0), *parts]), 5)
    return uncertainty(pool.probability) if pool.weight is None else pool.weight


def _shortlists(order: NDArray[np.int64], size: int, greedy: Greedy) -> Iterator[NDArray[np.int64]]:
    """Cut the order into shortlists until the budget is used up, passing over what a full quota rules out anyway."""
    while len(order) and not greedy.full:
        order = order[greedy.open_to(order)]
        yield order[:size]
        order = order[size:]
