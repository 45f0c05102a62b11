"""What a release costs beside the champion: milliseconds of one image, by turns, and memory of a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cascade.engines.base import EngineError
from cascade.release.store import Release
from tasks.config.gate import GateLatencyParams, GateMemoryParams, GateParams
from tasks.release.gate.report import Cost
from tasks.release.gate.store import entry_file, kept_json
from tasks.release.memory_probe import noise_image, open_classifier

MIB = 1 << 20
PROBE = "tasks.release.memory_probe"
SCRIPT = f"import sys; from pathlib import Path; from {PROBE} import memory_of; print(memory_of(Path(sys.argv[1])))"
PROBE_SECONDS = 300.0


def compare_costs(challenger: Release, champion: Release, params: GateParams) -> tuple[Cost, ...]:
    """Measure latency and memory of both.

    Raises:
        EngineError: one cannot be run.
    """
    return latency(challenger, champion, params.latency), memory(challenger, champion, params.memory, params.store)


def latency(challenger: Release, champion: Release, params: GateLatencyParams) -> Cost:
    """Time both with one image a call, by turns and in changing order, so that a busy machine slows both alike."""
    with ExitStack() as stack:
        runs = []
        for release in (challenger, champion):
            engine = open_classifier(release.folder)
            stack.callback(engine.close)
            runs.append((engine, noise_image(engine)))
        for engine, image in runs:
            engine.run(image)
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(params.rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                engine, image = runs[which]
                start = time.perf_counter()
                engine.run(image)
                seconds[which].append(time.perf_counter() - start)
    new, old = (float(np.median(each)) * 1000 for each in seconds)
    return Cost(
        name="latency", unit="ms", challenger=round(new, 3), champion=round(old, 3), limit=old * params.max_ratio
    )


def memory(challenger: Release, champion: Release, params: GateMemoryParams, store: Path) -> Cost:
    """Measure the memory of each in a process of its own, where nothing that was freed before is used again."""
    new, old = (_kept_memory(release, store) / MIB for release in (challenger, champion))
    limit = max(old * params.max_ratio, old + params.spare_mib)
    return Cost(name="memory", unit="MiB", challenger=round(new, 1), champion=round(old, 1), limit=limit)


def _kept_memory(release: Release, store: Path) -> int:
    file = entry_file(store, "memory", release, modules=[PROBE], inputs={}, params={})
    return int(kept_json(file, lambda: _memory_in_process(release.folder)))


def _memory_in_process(folder: Path) -> int:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True)
        return int(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{folder}: its memory could not be measured: {last}") from None
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise EngineError(f"{folder}: its memory could not be measured: {error}") from None
