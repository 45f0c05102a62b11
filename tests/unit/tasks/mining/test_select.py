"""The limits of a selection hold whatever the candidates are, and the order they come in does not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.select import Strategy
from tests.support.pools import assert_within_limits, limits_strategy, pool, run, shuffled

STRATEGIES: list[Strategy] = ["uncertain_diverse", "hardness", "uniqueness", "random"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # a list that is too short
        ({"places": ["a"]}, "one embedding, probability, place and key each"),
        # weights of another length
        ({"weight": np.ones(3)}, "one embedding, probability, place and key each"),
        # the same picture twice
        ({"keys": ["a"] * 5}, "repeat a key"),
        # no number
        ({"probability": np.array([0.5, np.nan, 0.5, 0.5, 0.5])}, "not a finite number"),
        ({"embeddings": np.full((5, 6), np.inf, dtype=np.float32)}, "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_candidates_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(replace(pool(1, 5), **change), SelectionLimits(2))  # type: ignore[arg-type]


def test_no_candidates_no_choice() -> None:
    assert run(pool(1, 0), SelectionLimits(5)).rows == []


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    copies=st.integers(0, 10),
    limits=limits_strategy,
    strategy=st.sampled_from(STRATEGIES),
)
def test_limits_hold(seed: int, count: int, copies: int, limits: SelectionLimits, strategy: Strategy) -> None:
    candidates = pool(seed, count, copies=min(copies, count // 2))
    held_out, known = pool(seed + 1, 8).embeddings[:], pool(seed + 2, 8).embeddings[:]
    # the very same picture is held out as well
    held_out[0] = candidates.embeddings[0] * 2
    found = run(candidates, limits, strategy, challenge=held_out, known=known)
    rows = found.rows
    if limits.challenge_distance:
        assert 0 not in rows
    assert_within_limits(candidates, rows, limits, held_out, known)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limits=limits_strategy, strategy=st.sampled_from(STRATEGIES))
def test_order_of_input_does_not_matter(seed: int, limits: SelectionLimits, strategy: Strategy) -> None:
    candidates = pool(seed, 40, copies=5)
    turned = shuffled(candidates, seed)
    first = [candidates.keys[row] for row in run(candidates, limits, strategy, seed=3).rows]
    assert first == [turned.keys[row] for row in run(turned, limits, strategy, seed=3).rows]
    assert first == [candidates.keys[row] for row in run(candidates, limits, strategy, seed=3).rows]


def test_budget_is_used_where_it_can_be() -> None:
    """Copies fill the first shortlists; what lies behind them is found all the same."""
    candidates = pool(5, 60)
    candidates.embeddings[:][:50] = candidates.embeddings[0]
    candidates.probability[:50], candidates.probability[50:] = 0.5, 0.9
    found = run(candidates, SelectionLimits(5, shortlist=2, duplicate_distance=0.01))
    assert sum(row < 50 for row in found.rows) == 1
    assert len(found.rows) == 5
    assert len(found.near_chosen) == 49


def test_uncertain_before_certain_and_far_before_near() -> None:
    vectors = np.eye(6, dtype=np.float32)
    vectors[1] = vectors[0] + np.float32(0.1) * vectors[5]
    candidates = Pool(vectors, np.array([0.5, 0.5, 0.6, 0.99, 0.98, 0.97]), [""] * 6, list("abcdef"))
    # 0 and 1 are equally uncertain and nearly the same: after one of them the fairly uncertain stranger comes first
    assert run(candidates, SelectionLimits(2)).rows == [0, 2]
    assert run(candidates, SelectionLimits(2), "hardness").rows == [0, 1]


def test_what_is_known_pushes_away() -> None:
    vectors = np.eye(6, dtype=np.float32)
    candidates = Pool(vectors, np.full(6, 0.5), [""] * 6, list("abcdef"))
    known = vectors[:1] + np.float32(0.5) * vectors[1:2]
    assert set(run(candidates, SelectionLimits(4), known=known).rows) == {2, 3, 4, 5}


def test_given_weight_counts_instead_of_probability() -> None:
    candidates = replace(pool(3, 6), weight=np.array([0, 0, 0, 0, 1.0, 0]))
    assert run(candidates, SelectionLimits(1)).rows == [4]


def test_other_seed_other_random_choice() -> None:
    candidates = pool(1, 40)
    assert (
        run(candidates, SelectionLimits(8), "random", seed=1).rows
        != run(candidates, SelectionLimits(8), "random", seed=2).rows
    )


def test_memory_map_and_blocks(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN001
    """Half precision on disk, read in blocks, gives what an array in memory gives."""
    candidates = pool(7, 50)
    half = candidates.embeddings[:].astype(np.float16)
    np.save(tmp_path / "x.npy", half)
    mapped = replace(candidates, embeddings=np.load(tmp_path / "x.npy", mmap_mode="r"))
    for strategy in STRATEGIES:
        whole = run(replace(candidates, embeddings=half), SelectionLimits(9), strategy, challenge=half[:3]).rows
        with monkeypatch.context() as patch:
            patch.setattr("tasks.mining.space.BLOCK", 2)
            assert run(mapped, SelectionLimits(9), strategy, challenge=half[:3]).rows == whole
