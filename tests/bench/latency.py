"""How long the champion takes: median and 95th percentile a batch. `make bench`, or `python -m tests.bench.latency`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cascade.engines.classifier import load_engine
from cascade.release.store import champion
from tests.bench.result import Sample, add_json, write_result

RELEASES = Path("models/releases")
BATCHES = (1, 4, 16)
WARM, RUNS = 3, 20


def main() -> None:
    """Time the champion's engine on pictures of noise, as served: same engine, precision and threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_json(parser)
    options = parser.parse_args()
    release = champion(RELEASES)
    if release is None:
        sys.exit("error: no champion yet; `make run` makes one")
    engine, manifest = release.manifest.engine, release.manifest
    table = Table("images", "median ms", "p95 ms", "images/s", title=f"{release.id}: {engine.kind} {engine.precision}")
    loaded = load_engine(release.folder, engine.kind, engine.precision, engine.threads)
    random, rates = np.random.default_rng(7), {}
    try:
        for count in BATCHES:
            batch = random.integers(0, 256, (count, manifest.size, manifest.size, 3), dtype=np.uint8)
            times = np.array([_seconds(loaded.run, batch) for _ in range(WARM + RUNS)][WARM:]) * 1000
            median, p95 = np.percentile(times, [50, 95])
            rates[count] = 1000 * count / median
            table.add_row(str(count), f"{median:.1f}", f"{p95:.1f}", f"{rates[count]:.1f}")
    finally:
        loaded.close()
    Console().print(table)
    one, most = rates[BATCHES[0]], rates[BATCHES[-1]]
    write_result(options.json, {"champion": [Sample(ours=most, peer=one, ratio=most / one)]})


def _seconds(run: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
