"""FiftyOne's choice of `count` embeddings that are as far from each other as can be: the peer of selection.py.

`find_unique` of a similarity index, on the same embeddings in the same space. What is timed is the index and the
query; the samples that FiftyOne's database needs are added before.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.mining.space import Floats, nearest

BLOCK = 4096


def choose_by_fiftyone(units: Floats, count: int) -> tuple[float, NDArray[np.int64]]:
    """Give seconds and the chosen rows of unit vectors, (n, d)."""
    from tasks.mining.database import connect

    with tempfile.TemporaryDirectory() as folder:
        fiftyone = connect(Path(folder) / "database")
        import fiftyone.brain as fob

        dataset = fiftyone.Dataset(persistent=False)
        # no file is read; all that is asked for is the distance of embeddings
        samples = [fiftyone.Sample(filepath=f"/{number:08d}.jpg") for number in range(len(units))]
        ids = dataset.add_samples(samples, dynamic=False, progress=False)
        start = time.perf_counter()
        index = fob.compute_similarity(
            # the Brain moves the vectors' centre in place
            dataset,
            backend="sklearn",
            metric="euclidean",
            embeddings=units.copy(),
            progress=False,
        )
        index.find_unique(count)
        seconds = time.perf_counter() - start
        chosen = set(index.unique_ids)
        return seconds, np.flatnonzero([one in chosen for one in ids])


def radius(units: Floats, rows: NDArray[np.int64]) -> float:
    """Largest distance of a picture to the nearest chosen one, which k-center makes small (Gonzalez 1985)."""
    parts = [nearest(units[start : start + BLOCK], units[rows]) for start in range(0, len(units), BLOCK)]
    return float(np.concatenate(parts).max())
