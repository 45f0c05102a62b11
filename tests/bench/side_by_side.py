"""Times of several ways to do the same, taken in turns: a busy moment of the machine falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench.result import Sample

Call = Callable[[int], object]


@dataclass(frozen=True)
class Times:
    """Milliseconds of each round: by the clock, and of all processor threads of this process together."""

    clock: np.ndarray
    processor: np.ndarray


def time_in_turns(ways: Mapping[str, Call], rounds: int, warm: int = 2) -> dict[str, Times]:
    """Call every way once a round with the round's number."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(warm + rounds):
        for name, call in ways.items():
            start, work = time.perf_counter(), time.process_time()
            call(number)
            seen[name].append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - work)))
    return {name: Times(*np.array(pairs[warm:]).T) for name, pairs in seen.items()}


def sample(times: Mapping[str, Times], fast: str, way: str) -> Sample:
    """Medians of the rounds, and the median of the rounds' ratios, as `show` prints them."""
    ours, peer = times[fast].clock, times[way].clock
    return Sample(ours=float(np.median(ours)), peer=float(np.median(peer)), ratio=float(np.median(peer / ours)))


def show(title: str, times: Mapping[str, Times], fast: str, targets: Mapping[str, float]) -> None:
    """Print medians, fastest rounds, and ratios to `fast` with the target where there is one.

    On a machine that others use, the clock measures them as well; the ratio of processor time hardly does.
    """
    table = Table("way", "median ms", "fastest ms", "processor ms", "ratio", "of fastest", "of processor", title=title)
    best = times[fast]
    for name, seen in times.items():
        ratios = (
            np.median(seen.clock / best.clock),
            seen.clock.min() / best.clock.min(),
            np.median(seen.processor) / np.median(best.processor),
        )
        goal = f" (target {targets[name]})" if name in targets else ""
        numbers = (np.median(seen.clock), seen.clock.min(), np.median(seen.processor))
        table.add_row(name, *(f"{number:.1f}" for number in numbers), *(f"{ratio:.2f}{goal}" for ratio in ratios))
    Console(width=140).print(table)
