"""Candidates of a selection in six dimensions, limits as hypothesis draws them, and a choice in their space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tasks.mining.greedy import Pool, Selection, SelectionLimits
from tasks.mining.select import Strategy, select
from tasks.mining.space import Floats, Space, nearest

FLAT = Space(np.zeros(6, dtype=np.float32), np.ones(6, dtype=np.float32))
ROUNDING = 1e-5
limits_strategy = st.builds(
    SelectionLimits,
    budget=st.integers(1, 12),
    shortlist=st.integers(1, 4),
    class_share=st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    place_quota=st.integers(1, 5),
    duplicate_distance=st.sampled_from([0.0, 0.1, 0.4]),
    challenge_distance=st.sampled_from([0.0, 0.1, 0.4]),
)


def pool(seed: int, count: int, *, places: int = 4, copies: int = 0) -> Pool:
    """Candidates in six dimensions, the last `copies` of them beside the first ones."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, 6)).astype(np.float32)
    if copies:
        vectors[-copies:] = vectors[:copies] * 1.5 + random.standard_normal((copies, 6)) * 1e-3
    names = [f"place-{index}" if index else "" for index in random.integers(places, size=count)]
    keys = [f"{value:016x}" for value in random.permutation(10 * count)[:count]]
    return Pool(vectors, random.random(count).round(2), names, keys)


def run(
    candidates: Pool, limits: SelectionLimits, strategy: Strategy = "uncertain_diverse", **options: object
) -> Selection:
    """Choose in the space as it is."""
    return select(candidates, limits, strategy=strategy, space=FLAT, **options)  # type: ignore[arg-type]


def shuffled(candidates: Pool, seed: int) -> Pool:
    """The same candidates in another order."""
    order = np.random.default_rng(seed).permutation(len(candidates.keys))
    places, keys = ([names[row] for row in order] for names in (candidates.places, candidates.keys))
    return Pool(candidates.embeddings[order], candidates.probability[order], places, keys)


def assert_within_limits(
    candidates: Pool, rows: Sequence[int], limits: SelectionLimits, held_out: Floats, known: Floats
) -> None:
    """Hold chosen rows against every limit of a selection, as a person would compute it."""
    assert len(rows) == len(set(rows)) <= limits.budget
    units = FLAT.unit(candidates.embeddings)
    assert (nearest(units[rows], FLAT.unit(held_out)) >= limits.challenge_distance - ROUNDING).all()
    assert (nearest(units[rows], FLAT.unit(known)) >= limits.duplicate_distance - ROUNDING).all()
    apart = 1 - units[rows] @ units[rows].T + 3 * np.eye(len(rows))
    assert (apart >= limits.duplicate_distance - ROUNDING).all()
    per_place = Counter(candidates.places[row] for row in rows if candidates.places[row])
    assert max(per_place.values(), default=0) <= limits.place_quota
    per_class = Counter(bool(candidates.probability[row] > 0.5) for row in rows)
    assert max(per_class.values(), default=0) <= limits.class_quota
