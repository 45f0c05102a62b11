"""Candidates of a selection in six dimensions, limits as hypothesis draws them, and a choice in their space."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tasks.mining.greedy import Pool, Selection, SelectionLimits
from tasks.mining.select import Strategy, select
from tasks.mining.space import Space

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
