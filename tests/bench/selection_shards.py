"""What a choice by shards loses, and what memory it takes: `python -m tests.bench.selection_shards`.

The pool is that of selection.py. The exact choice is k-center greedy over all of it at once, weights alike, which
takes its embeddings as float32 into memory; the choice by shards reads them from the file. Each runs in a process of
its own, so that its peak is its own. Steps are kept under var/bench/selection_shards, the exact choice after every few
pictures: the same command goes on from there.

`--labelled` also measures near-duplicates against so many labelled pictures, by the index and by comparing with all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.common.cache_key import cache_key
from tasks.common.files import read_json, write_json
from tasks.data.near_duplicates import compare_hashes
from tasks.mining.coresets import Shards
from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.index import IndexedUnits, search_hashes
from tasks.mining.select import select
from tasks.mining.space import Floats, Space, nearest
from tasks.mining.stored import StoredRows
from tests.bench.result import Sample, add_json, slower, write_result
from tests.bench.selection import BLOCK, draw

FOLDER = Path("var/bench/selection_shards")
SIZE, BUDGET, SHARD, CENTRES = 1_000_000, 320, 50_000, 1.0
# pictures between two states of the exact choice on the disk
KEEP = 20
QUERIES, COPIES, LIMIT, PROBES, BITS = 10_000, 1000, 0.15, 8, 4


def space_of(rows: StoredRows) -> Space:
    """The space of a sample of the pool, as selection.py takes it."""
    return Space.of(rows[:: max(1, len(rows) // BLOCK)])


def exact_choice(path: Path, budget: int, state: Path) -> dict[str, Any]:
    """Choose from all rows at once, each time the one that is farthest from those before; resumes from `state`."""
    rows = StoredRows.of_npy(path)
    space, units = space_of(rows), np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        units[start : start + BLOCK] = space.unit(rows[start : start + BLOCK])
    picked, distance = _resume(state, len(rows))
    start = time.perf_counter()
    while len(picked) < budget:
        picked.append(int(np.argmax(distance)))
        np.minimum(distance, 1 - units @ units[picked[-1]], out=distance)
        if len(picked) % KEEP == 0 or len(picked) == budget:
            with state.with_suffix(".part").open("wb") as file:
                np.savez(file, picked=np.array(picked), distance=distance)
            state.with_suffix(".part").replace(state)
    return _facts(distance) | {"rows": picked, "seconds": time.perf_counter() - start, "memory": peak()}


def _resume(state: Path, count: int) -> tuple[list[int], Floats]:
    if not state.is_file():
        return [], np.full(count, 2, dtype=np.float32)
    with np.load(state) as kept:
        return kept["picked"].tolist(), kept["distance"]


def _facts(distance: Floats) -> dict[str, Any]:
    return {"mean": float(distance.mean(dtype=np.float64)), "maximum": float(distance.max())}


def peak() -> float:
    """Largest memory of this process so far, GB; `getrusage` would count that of the process which started it, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e9


def sharded_choice(path: Path, budget: int, shards: Shards) -> dict[str, Any]:
    """The same by shards, as mining does it."""
    rows = StoredRows.of_npy(path)
    count = len(rows)
    pool = Pool(rows, np.full(count, 0.5), [""] * count, [f"{index:08d}" for index in range(count)])
    start, work = time.perf_counter(), time.process_time()
    found = select(pool, SelectionLimits(budget, shortlist=-(-count // budget)), space=space_of(rows), shards=shards)
    assert found.coverage is not None, "it was chosen by shards"
    seconds, work = time.perf_counter() - start, time.process_time() - work
    return asdict(found.coverage) | {"rows": found.rows, "seconds": seconds, "work": work, "memory": peak()}


def near_duplicates(path: Path, labelled: int) -> dict[str, Any]:
    """Distances of candidates, copies of labelled pictures among them, to all labelled ones, in both ways."""
    rows = StoredRows.of_npy(path)
    space, random = space_of(rows), np.random.default_rng(3)
    known, queries = space.unit(rows[:labelled]), rows[-QUERIES:].astype(np.float32)
    copied = random.choice(labelled, COPIES, replace=False)
    # evenly from the very picture to beyond the limit
    noise = np.linspace(0, 1, COPIES)[:, None]
    queries[:COPIES] = rows[copied] + noise * random.standard_normal((COPIES, rows.shape[1]))
    units = space.unit(queries)
    start = time.perf_counter()
    compared = nearest(units, known)
    middle = time.perf_counter()
    index = IndexedUnits(known, PROBES)
    built = time.perf_counter()
    found = index(units)
    end = time.perf_counter()
    far = compared >= LIMIT
    return {
        "near, compared": int((~far).sum()),
        "near, index": int((found[~far] < LIMIT).sum()),
        "wrongly near": int((found[far] < LIMIT).sum()),
        "mean excess of the others": float((found - compared)[far].mean()),
        "seconds compared": middle - start,
        "seconds to build": built - middle,
        "seconds by index": end - built,
    }


def near_hashes(labelled: int) -> dict[str, Any]:
    """Pairs of random hashes that differ in few bits, in both ways; as many are planted as there are copies above."""
    random = np.random.default_rng(4)
    known = random.integers(0, 1 << 64, labelled, dtype=np.uint64)
    asked = random.integers(0, 1 << 64, QUERIES, dtype=np.uint64)
    asked[:COPIES] = random.choice(known, COPIES) ^ (
        np.uint64(0b1001) << random.integers(60, size=COPIES, dtype=np.uint64)
    )
    found, seconds = [], []
    for search in (compare_hashes, search_hashes):
        start = time.perf_counter()
        found.append(list(search(asked, known, BITS)))
        seconds.append(time.perf_counter() - start)
    return {
        "pairs, compared": len(found[0]),
        "pairs, index": len(found[1]),
        "equal": found[0] == found[1],
        "seconds compared": seconds[0],
        "seconds by index": seconds[1],
    }


def step(name: str, folder: Path, work: Any, *arguments: Any) -> dict[str, Any]:
    """The result of a step, kept for this code, or else that of running it in a process of its own."""
    kept = folder / f"{name}-{cache_key(['tasks.mining.select', 'tasks.mining.index']).short}.json"
    if not kept.is_file():
        with multiprocessing.get_context("spawn").Pool(1) as worker:
            write_json(kept, worker.apply(work, arguments))
    found: dict[str, Any] = read_json(kept)
    return found


def measure(folder: Path, size: int, budget: int, shards: Shards) -> tuple[dict[str, Any], dict[str, Any]]:
    """The exact choice and that by shards, each with coverage, seconds and peak memory."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{size}.npy"
    if not path.is_file():
        draw(path.with_suffix(".part"), size)
        path.with_suffix(".part").replace(path)
    by_shards = step(
        f"shards-{size}-{budget}-{shards.rows}-{shards.centres}", folder, sharded_choice, path, budget, shards
    )
    name = f"exact-{size}-{budget}"
    return step(name, folder, exact_choice, path, budget, folder / f"{name}.npz"), by_shards


def samples(exact: dict[str, Any], by_shards: dict[str, Any]) -> dict[str, Sample]:
    """The rows of the table of benches."""
    return {
        "shards_mean": slower(by_shards["mean"], exact["mean"]),
        "shards_maximum": slower(by_shards["maximum"], exact["maximum"]),
        "shards_memory": Sample(ours=by_shards["memory"]),
    }


def show(exact: dict[str, Any], by_shards: dict[str, Any], title: str) -> None:
    """Print both."""
    table = Table("", "mean", "maximum", "bound", "least", "s", "peak GB", title=title)
    for name, found in (("exact", exact), ("by shards", by_shards)):
        values = [f"{found[key]:.5f}" if key in found else "" for key in ("mean", "maximum", "bound", "least")]
        table.add_row(name, *values, f"{found['seconds']:.0f}", f"{found['memory']:.2f}")
    Console().print(table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--shard-rows", type=int, default=SHARD)
    parser.add_argument("--shard-centres", type=float, default=CENTRES)
    parser.add_argument("--labelled", type=int, help="near-duplicates too")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    add_json(parser)
    options = parser.parse_args()
    shards = Shards(options.shard_rows, options.shard_centres)
    exact, by_shards = measure(options.folder, options.size, options.budget, shards)
    title = f"{options.budget:,} of {options.size:,}, shards of {shards.rows:,}, {shards.centres:g} x the budget each"
    show(exact, by_shards, title)
    if options.labelled:
        path = options.folder / f"{options.size}.npy"
        print(step(f"near-{options.size}-{options.labelled}", options.folder, near_duplicates, path, options.labelled))
        print(step(f"hashes-{options.labelled}", options.folder, near_hashes, options.labelled))
    write_result(options.json, {name: [one] for name, one in samples(exact, by_shards).items()})


if __name__ == "__main__":
    main()
