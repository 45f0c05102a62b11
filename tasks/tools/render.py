# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["bpy==4.5.15", "numpy<2", "pillow>=11", "tqdm>=4.67"]
# ///
"""Render street scenes with and without works: `python -m tasks.tools.blender tasks/tools/render.py --out DIR`.

Runs in an environment of its own, since Blender's module needs numpy<2. Seeded, resumable, one process a core; each
picture comes with a JSON file that holds its label, exact boxes and slices. `python -m tasks.tools.sample` packs them.
"""

from __future__ import annotations

import argparse
import fcntl
import multiprocessing
import os
import sys
from pathlib import Path

SEED = 7
SHOTS = 4  # a place: two with roadworks, two without
DISTANCES = [4, 5, 6.5, 8, 11, 15]


def pin_to_core(folder: Path) -> None:
    """Bind a process to a core of its own, where Blender's threads cannot spin against others; silence its chatter.

    A lock held until the process ends says that a core is taken.
    """
    for core in sorted(os.sched_getaffinity(0)):
        lock = os.open(folder / f".core{core}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            os.sched_setaffinity(0, {core})
            break
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def work(job: tuple[int, int, int, str, int, list[float]]) -> int:
    """Render one place; returns how many pictures are new."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "synthesis"))
    from blender.place import shoot

    index, seed, shots, folder, samples, distances = job
    return sum(1 for _ in shoot(index, seed, shots, Path(folder), samples, distances))


def main() -> None:
    """Render what is missing, with a progress bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=260)
    parser.add_argument("--first", type=int, default=0, help="number of the first place")
    parser.add_argument("--shots", type=int, default=SHOTS, help="pictures a place; even ones show roadworks")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--samples", type=int, default=6, help="paths a pixel")
    parser.add_argument(
        "--distances", type=float, nargs="+", default=DISTANCES, help="metres ahead at which works may begin"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("var/render"))
    options = parser.parse_args()
    from tqdm import tqdm

    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (index, options.seed, options.shots, str(options.out), options.samples, options.distances)
        for index in range(options.first, options.first + options.places)
    ]
    # a process renders one place: what Blender keeps from the one before changes a picture by a few grey levels
    with multiprocessing.get_context("spawn").Pool(
        options.processes, pin_to_core, (options.out,), maxtasksperchild=1
    ) as pool:
        for _ in tqdm(pool.imap_unordered(work, jobs), total=len(jobs), unit="place"):
            pass


if __name__ == "__main__":
    main()
