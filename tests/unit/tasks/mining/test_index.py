"""The index finds what the comparison of all finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.extras import MissingExtraError, extra_of
from tasks.data.near_duplicates import compare_hashes
from tasks.mining import index
from tasks.mining.greedy import SelectionLimits
from tasks.mining.index import IndexedUnits, indexed, search_hashes
from tasks.mining.space import Compared, Floats, nearest
from tests.support.pools import ROUNDING, pool, run

WIDTH = 24


@pytest.fixture(autouse=True)
def _faiss(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        pytest.importorskip("faiss")


def test_without_faiss_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.extras.find_spec", lambda name: None)
    message = r"near_duplicates: index needs the extra `index` \(not installed: faiss\); `uv sync .*--extra index` adds"
    with pytest.raises(MissingExtraError, match=message):
        list(search_hashes(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint64), 4))
    with pytest.raises(MissingExtraError, match=message):
        IndexedUnits(np.zeros((1, 2), dtype=np.float32), 1)
    assert extra_of("faiss") == "index"


def hashes(seed: int, count: int, far: int) -> tuple[Any, Any]:
    """Hashes, and such that differ from some of them in up to `far` bits, wherever these lie."""
    random = np.random.default_rng(seed)
    first = random.integers(0, 1 << 64, count, dtype=np.uint64)
    second = np.concatenate([random.choice(first, count), random.integers(0, 1 << 64, count, dtype=np.uint64)])
    for row in range(len(second)):
        for bit in random.choice(64, random.integers(0, far + 1), replace=False):
            second[row] ^= np.uint64(1) << np.uint64(bit)
    return first, second


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), bits=st.integers(0, 16))
def test_pairs_of_hashes_are_those_of_the_comparison(seed: int, count: int, bits: int) -> None:
    first, second = hashes(seed, count, bits + 2)
    # the same picture more than once, on both sides
    first, second = np.concatenate([first, first[:2]]), np.concatenate([second, second[:3]])
    assert list(search_hashes(first, second, bits)) == list(compare_hashes(first, second, bits))


def test_no_hashes_no_pairs() -> None:
    none, some = np.zeros(0, dtype=np.uint64), np.zeros(3, dtype=np.uint64)
    for first, second in ((none, some), (some, none), (none, none)):
        assert not list(search_hashes(first, second, 4))


def units(seed: int, count: int, centres: int, spread: float) -> Floats:
    """Unit vectors around some centres."""
    random = np.random.default_rng(seed)
    middle = random.standard_normal((centres, WIDTH))
    rows = middle[random.integers(centres, size=count)] + spread * random.standard_normal((count, WIDTH))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 400),
    centres=st.integers(1, 20),
    spread=st.sampled_from([0.0, 0.05, 0.4, 2.0]),
    probes=st.integers(1, 20),
)
@pytest.mark.filterwarnings("ignore")
def test_distances_are_those_of_the_comparison_or_too_large(
    seed: int, count: int, centres: int, spread: float, probes: int
) -> None:
    """With all lists read they are equal, and a copy is found whatever is read: it lies where it is looked for."""
    known, asked = units(seed, count, centres, spread), units(seed + 1, 50, centres, spread)
    compared, found = nearest(asked, known), IndexedUnits(known, probes)(asked)
    assert (found >= compared - ROUNDING).all()
    assert IndexedUnits(known, count)(asked) == pytest.approx(compared, abs=ROUNDING)
    assert IndexedUnits(known, probes)(known) == pytest.approx(0, abs=ROUNDING)


def test_of_near_duplicates_few_are_missed() -> None:
    """At distances up to the limit of `mine.duplicate_distance`, with a twelfth of the lists read."""
    random = np.random.default_rng(3)
    known = units(1, 10_000, 500, 1.0)
    asked = known[:2000] + np.linspace(0, 0.13, 2000)[:, None] * random.standard_normal((2000, WIDTH))
    asked = np.asarray(asked / np.linalg.norm(asked, axis=1, keepdims=True), dtype=np.float32)
    near = nearest(asked, known) < 0.15
    found = IndexedUnits(known, 8)(asked) < 0.15
    assert near.sum() > 1000
    assert not found[~near].any()
    assert found[near].mean() > 0.98


def test_a_small_set_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    known = units(1, 60, 3, 0.4)
    assert isinstance(indexed(2, known), Compared)
    monkeypatch.setattr(index, "LEAST_ROWS", 50)
    assert isinstance(indexed(2, known), IndexedUnits)


@pytest.mark.filterwarnings("ignore")
def test_a_selection_refuses_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LEAST_ROWS", 50)
    candidates, known = pool(1, 60, copies=10), pool(2, 80).embeddings[:]
    known[:20] = candidates.embeddings[:20] * 1.1
    limits = SelectionLimits(12, shortlist=5, duplicate_distance=0.1, challenge_distance=0.1)
    given = {"known": known, "challenge": pool(3, 60).embeddings[:]}
    exact = run(candidates, limits, **given)
    found = run(candidates, limits, search=lambda rows: indexed(60, rows), **given)
    # with all lists read the distances are those of the comparison too
    assert (found.rows, found.near_known, found.near_challenge) == (exact.rows, exact.near_known, exact.near_challenge)
    assert exact.near_known
