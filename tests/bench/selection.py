"""What selection costs in seconds and memory, over a growing pool: `python -m tests.bench.selection`.

Embeddings are drawn around as many centres as a city has corners and kept on disk as float16, as a memory map; each
size runs in a process of its own, so that its peak is its own. `--peer` compares with FiftyOne's choice at a size that
it can take: k-center greedy over all of the pool (weights alike, no held-out pictures), in seconds and by the radius
that is left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.mining.greedy import Pool, SelectionLimits
from tasks.mining.select import Strategy, select
from tasks.mining.space import Space
from tests.bench.result import Sample, add_json, slower, write_result

WIDTH, BUDGET, HELD_OUT, CENTRES, BLOCK = 1152, 1000, 5000, 2000, 10_000
SIZES = (10_000, 100_000, 1_000_000)
# FiftyOne compares all with all, which grows with the square
PEER_SIZE = SIZES[0]
LIMITS = SelectionLimits(
    BUDGET, shortlist=10, class_share=0.7, place_quota=6, duplicate_distance=0.15, challenge_distance=0.15
)


def draw(path: Path, count: int) -> None:
    """Write `count` embeddings, a block at a time."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((CENTRES, WIDTH), dtype=np.float32)
    target = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(count, WIDTH))
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        near = centres[random.integers(CENTRES, size=rows.stop - start)]
        target[rows] = near + random.standard_normal(near.shape, dtype=np.float32)
    target.flush()


def measure(path: Path, strategy: Strategy) -> tuple[float, float, float, int]:
    """Select once; gives seconds, processor seconds, peak memory of this process in GB, and how many were chosen."""
    embeddings = np.load(path, mmap_mode="r")
    random = np.random.default_rng(1)
    count = len(embeddings)
    held_out = embeddings[np.sort(random.choice(count, min(HELD_OUT, count // 2), replace=False))]
    places = [f"place-{index}" for index in random.integers(max(count // 20, 1), size=count)]
    pool = Pool(embeddings, random.random(count), places, [f"{index:08d}" for index in range(count)])
    start, work = time.perf_counter(), time.process_time()
    space = Space.of(embeddings[:: max(1, count // BLOCK)])
    found = select(pool, LIMITS, strategy=strategy, space=space, challenge=held_out, known=held_out[:1000])
    seconds, work = time.perf_counter() - start, time.process_time() - work
    return seconds, work, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, len(found.rows)


def measure_kcenter(path: Path) -> tuple[float, float]:
    """Choose by distance alone, from the whole pool at once; gives seconds and the radius."""
    from tests.bench.selection_peer import radius

    embeddings = np.load(path)
    count = len(embeddings)
    pool = Pool(embeddings, np.full(count, 0.5), [""] * count, [f"{index:08d}" for index in range(count)])
    start = time.perf_counter()
    space = Space.of(embeddings)
    found = select(pool, SelectionLimits(BUDGET, shortlist=count // BUDGET), space=space)
    seconds = time.perf_counter() - start
    return seconds, radius(space.unit(embeddings), np.array(found.rows))


def measure_peer(path: Path) -> tuple[float, float]:
    """The same by FiftyOne."""
    from tests.bench.selection_peer import choose_by_fiftyone, radius

    embeddings = np.load(path)
    units = Space.of(embeddings).unit(embeddings)
    seconds, rows = choose_by_fiftyone(units, BUDGET)
    return seconds, radius(units, rows)


def compare_with_peer(folder: Path) -> dict[str, Sample]:
    """Both on one pool, one after the other, each in a process of its own."""
    path = folder / "compared.npy"
    draw(path, PEER_SIZE)
    context = multiprocessing.get_context("spawn")
    found = []
    for what in (measure_kcenter, measure_peer):
        with context.Pool(1) as worker:
            found.append(worker.apply(what, (path,)))
    (ours, our_radius), (theirs, their_radius) = found
    print(
        f"{BUDGET} of {PEER_SIZE:,} by distance alone: {ours:.1f} s, FiftyOne {theirs:.1f} s; "
        f"radius {our_radius:.4f}, FiftyOne {their_radius:.4f}"
    )
    return {"selection": slower(ours, theirs), "selection_radius": slower(our_radius, their_radius)}


def rows_of(seen: dict[int, tuple[float, float]]) -> dict[str, Sample]:
    """Rows of the sizes that ran, from seconds and GB of each."""
    rows = {}
    if SIZES[1] in seen:
        seconds, memory = seen[SIZES[1]]
        rows = {"selection_100k": Sample(ours=seconds), "selection_memory": Sample(ours=memory)}
        if SIZES[2] in seen:
            most = seen[SIZES[2]][0]
            rows["selection_1m"] = Sample(ours=most, peer=seconds, ratio=most / seconds)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true", help="FiftyOne too")
    add_json(parser)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--strategies", nargs="+", default=["uncertain_diverse"])
    options = parser.parse_args()
    title = f"{BUDGET} of n embeddings of {WIDTH} dimensions, {HELD_OUT} held out"
    table = Table("n", "strategy", "s", "CPU s", "peak GB", "chosen", title=title)
    context = multiprocessing.get_context("spawn")
    seen, rows = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            path = Path(folder) / "embeddings.npy"
            draw(path, size)
            for strategy in options.strategies:
                with context.Pool(1) as worker:
                    seconds, work, memory, chosen = worker.apply(measure, (path, strategy))
                if strategy == options.strategies[0]:
                    seen[size] = (seconds, memory)
                table.add_row(f"{size:,}", strategy, f"{seconds:.1f}", f"{work:.1f}", f"{memory:.2f}", str(chosen))
            path.unlink()
        if options.peer:
            rows = compare_with_peer(Path(folder))
    Console().print(table)
    write_result(options.json, {name: [one] for name, one in {**rows, **rows_of(seen)}.items()})


if __name__ == "__main__":
    main()
