"""A choice by shards obeys the limits, depends on no order, and stays within its bound of the exact choice."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.mining import index
from tasks.mining.coresets import CentreChooser, Centres, Shard, Shards
from tasks.mining.coverage import Taken, chord, cosine, least
from tasks.mining.greedy import Pool, Selection, SelectionLimits
from tasks.mining.select import select
from tasks.mining.space import Floats, nearest
from tests.support.pools import FLAT, ROUNDING, assert_within_limits, limits_strategy, pool, run, shuffled

shards_strategy = st.builds(Shards, rows=st.integers(1, 30), centres=st.sampled_from([0.2, 0.5, 1.0, 2.0]))


def plain(seed: int, count: int) -> Pool:
    """Candidates that are wanted alike, without places."""
    return replace(pool(seed, count), probability=np.full(count, 0.5), places=[""] * count)


def distances(candidates: Pool, found: Selection, known: Floats) -> Floats:
    """Of all candidates to the nearest chosen or known one, as a person would compute them."""
    units = FLAT.unit(candidates.embeddings)
    return np.minimum(nearest(units, units[found.rows]), nearest(units, FLAT.unit(known)))


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    copies=st.integers(0, 10),
    limits=limits_strategy,
    shards=shards_strategy,
)
def test_limits_hold(seed: int, count: int, copies: int, limits: SelectionLimits, shards: Shards) -> None:
    candidates = pool(seed, count, copies=min(copies, count // 2))
    held_out, known = pool(seed + 1, 8).embeddings[:], pool(seed + 2, 8).embeddings[:]
    found = run(candidates, limits, challenge=held_out, known=known, shards=shards)
    rows = found.rows
    assert_within_limits(candidates, rows, limits, held_out, known)
    for refused in (found.near_challenge, found.near_known, found.near_chosen):
        assert len(refused) == len(set(refused))
        assert not set(refused) & set(rows)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limits=limits_strategy, shards=shards_strategy)
def test_order_of_input_does_not_matter(seed: int, limits: SelectionLimits, shards: Shards) -> None:
    candidates = pool(seed, 40, copies=5)
    turned = shuffled(candidates, seed)
    first = [candidates.keys[row] for row in run(candidates, limits, shards=shards).rows]
    assert first == [turned.keys[row] for row in run(turned, limits, shards=shards).rows]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limits=limits_strategy)
def test_a_shortlist_that_fits_in_a_shard_is_chosen_from_exactly(seed: int, limits: SelectionLimits) -> None:
    candidates, known = pool(seed, 50, copies=5), pool(seed + 1, 5).embeddings[:]
    exact = run(candidates, limits, known=known)
    one = run(candidates, limits, known=known, shards=Shards(limits.shortlist * limits.budget))
    assert replace(one, coverage=None) == exact


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(10, 80),
    budget=st.integers(1, 6),
    shards=st.builds(Shards, rows=st.integers(3, 30), centres=st.sampled_from([0.4, 1.0, 2.0])),
)
def test_coverage_lies_between_its_bounds(seed: int, count: int, budget: int, shards: Shards) -> None:
    candidates, known = plain(seed, count), pool(seed + 1, 3).embeddings[:]
    limits = SelectionLimits(budget, shortlist=count)
    exact = run(candidates, limits, known=known)
    found = run(candidates, limits, known=known, shards=shards)
    measured, coverage = distances(candidates, found, known), found.coverage
    assert coverage is not None
    assert coverage.maximum == pytest.approx(measured.max(), abs=ROUNDING)
    assert coverage.mean == pytest.approx(measured.mean(), abs=ROUNDING)
    assert coverage.maximum <= coverage.bound + ROUNDING
    assert coverage.least <= distances(candidates, exact, known).max() + ROUNDING
    if shards.centres >= 1:
        # Malkomes et al. 2015, as chords; no choice, so the exact one neither, has less than a quarter of it
        assert chord(coverage.bound) <= 4 * chord(distances(candidates, exact, known).max()) + 0.01


def test_budget_is_used_where_it_can_be() -> None:
    """Copies are the centres of no shard but once, and the rounds go on until the others are found."""
    candidates = pool(5, 60)
    candidates.embeddings[:][:50] = candidates.embeddings[0]
    candidates.probability[:50], candidates.probability[50:] = 0.5, 0.9
    limits = SelectionLimits(5, shortlist=12, duplicate_distance=0.01)
    found = run(candidates, limits, shards=Shards(8, 0.2))
    assert sum(row < 50 for row in found.rows) == 1
    assert len(found.rows) == 5


@pytest.mark.parametrize("indexed", [False, True])
def test_a_shard_is_chosen_from_in_another_process_too(indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a worker gets is pickled, an index as well."""
    candidates = pool(4, 60, copies=6)
    given: dict[str, Any] = {"known": pool(5, 30).embeddings[:], "challenge": pool(6, 9).embeddings[:]}
    if indexed:
        pytest.importorskip("faiss")
        given["search"] = partial(index.indexed, 3)
        monkeypatch.setattr(index, "LEAST_ROWS", 20)
    seen: list[int] = []

    def elsewhere(chooser: CentreChooser, shards: Sequence[Shard]) -> Iterator[Centres]:
        for shard in shards:
            seen.append(len(shard.rows))
            yield pickle.loads(pickle.dumps(chooser))(shard)  # noqa: S301 - our own

    limits = SelectionLimits(6, shortlist=8, duplicate_distance=0.1, challenge_distance=0.1)
    expected = run(candidates, limits, shards=Shards(13), **given)
    assert run(candidates, limits, shards=Shards(13, spread=elsewhere), **given) == expected
    assert seen[:4] == [12, 12, 12, 12]


def test_other_measures_than_distance_are_not_cut() -> None:
    """Their shortlist is sorted by weight alone, which shards would not change."""
    candidates, limits = pool(3, 40), SelectionLimits(6, shortlist=6)
    for strategy in ("hardness", "uniqueness", "random"):
        found = select(candidates, limits, strategy=strategy, space=FLAT, shards=Shards(4))  # type: ignore[arg-type]
        assert found == select(candidates, limits, strategy=strategy, space=FLAT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("apart", "left", "budget", "expected"),
    [
        # fewer were there than are wanted: nothing is known
        ([2, 1], [0, 0], 3, 0),
        # all that is left lies on a chosen one
        ([2, 1], [0, 0, 0], 2, 0),
        # the third is 0.5 from both
        ([2, 1], [0, 0, 0.5], 2, 0.5),
        # more were chosen than are asked about
        ([2, 1, 0.5, 0.1], [0.05], 2, 0.5),
        # the second pick was the nearest one, as quotas may want it
        ([2, 0.3], [0.5], 2, 0.3),
    ],
)
def test_the_least_maximum_of_any_choice(apart: list[float], left: list[float], budget: int, expected: float) -> None:
    rows = np.arange(len(left))
    taken = Taken(rows[: len(apart)], np.array(apart, dtype=np.float32), rows, np.array(left, dtype=np.float32))
    assert least(taken, budget) == pytest.approx(chord(expected) / 2)
    assert cosine(chord(expected)) == pytest.approx(expected)
