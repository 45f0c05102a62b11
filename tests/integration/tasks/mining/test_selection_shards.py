"""The bench of the choice by shards at a small size: what is lost, what memory is taken, and that it resumes."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from tasks.mining.coresets import Shards
from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.select import select
from tests.bench import selection_shards
from tests.bench.selection import draw
from tests.bench.selection_shards import exact_choice, measure, samples, sharded_choice, space_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_shards_lose_less_than_one_percent(tmp_path: Path) -> None:
    exact, by_shards = measure(tmp_path, 6000, 60, Shards(1000))
    found = samples(exact, by_shards)
    assert min(found[name].ratio or 0 for name in ("shards_mean", "shards_maximum")) >= 0.99
    assert by_shards["least"] <= exact["maximum"] <= by_shards["bound"]
    assert by_shards["maximum"] <= by_shards["bound"]
    # kept: the steps are not run again
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert measure(tmp_path, 6000, 60, Shards(1000)) == (exact, by_shards)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_the_exact_choice_is_that_of_mining_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "pool.npy", 1500)
    rows = np.load(tmp_path / "pool.npy")
    pool = Pool(rows, np.full(1500, 0.5), [""] * 1500, [f"{index:08d}" for index in range(1500)])
    monkeypatch.setattr(selection_shards, "KEEP", 5)
    # ended after 12 of 30
    exact_choice(tmp_path / "pool.npy", 12, tmp_path / "state.npz")
    found = exact_choice(tmp_path / "pool.npy", 30, tmp_path / "state.npz")
    stored = selection_shards.StoredRows.of_npy(tmp_path / "pool.npy")
    chosen = select(pool, SelectionLimits(30, shortlist=50), space=space_of(stored))
    assert found["rows"] == chosen.rows


def test_memory_does_not_grow_with_the_pool(tmp_path: Path) -> None:
    """Four times the pool, 70 MB more of it on the disk: nothing of that stays in memory."""
    peaks = []
    for size in (10_000, 40_000):
        draw(tmp_path / "pool.npy", size)
        with get_context("spawn").Pool(1) as worker:
            found = worker.apply(sharded_choice, (tmp_path / "pool.npy", 20, Shards(2000)))
        peaks.append(found["memory"])
        assert len(found["rows"]) == 20
    assert peaks[1] - peaks[0] < 0.05
