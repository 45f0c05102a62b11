"""One row an engine: latency, throughput, memory, size, parity with torch, the task's metric; as JSON and Markdown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.engines.classifier import ClassifierEngine
from cascade.evaluate.scores import mcc
from cascade.probability import sigmoid

# images, uint8 RGB (n, size, size, 3), to logits (n,)
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
COLUMNS = {
    "engine": "Engine",
    "precision": "Precision",
    "milliseconds": "ms at batch 1",
    "best_batch": "Best batch",
    "images_per_second": "Images/s there",
    "memory_mib": "Memory, MiB",
    "megabytes": "File, MB",
    "max_probability_gap": "Largest Δp",
    "mean_probability_gap": "Mean Δp",
    "mcc": "MCC",
    "mcc_images": "on",
    "note": "",
}


@dataclass(frozen=True)
class EngineRow:
    """One engine.

    Attributes:
        milliseconds: median at batch 1.
        best_batch: of those tried, the one with most images a second.
        images_per_second: at that batch.
        memory_mib: what loading and the first call added to this process.
        megabytes: of the model's file.
        max_probability_gap: largest difference to torch fp32, on the parity images.
        mean_probability_gap: mean of these differences.
        mcc_images: how many labelled images `mcc` is from, at the prior that they stand for.
        note: for people, such as why an engine does not serve.
    """

    engine: str
    precision: str
    milliseconds: float
    best_batch: int
    images_per_second: float
    memory_mib: float
    megabytes: float
    max_probability_gap: float
    mean_probability_gap: float
    mcc: float
    mcc_images: int
    note: str = ""


def logits(run: Run, images: NDArray[np.uint8], batch: int) -> NDArray[np.float64]:
    """Run a classifier on images (n, size, size, 3), `batch` at a time; gives logits (n,)."""
    parts = [run(images[start : start + batch]) for start in range(0, len(images), batch)]
    return np.concatenate(parts).astype(np.float64)


def gap(logit: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """Measure how far probabilities are from the reference's, both given as logits (n,)."""
    difference = np.abs(sigmoid(logit) - sigmoid(reference))
    return {
        "max_probability_gap": round(float(difference.max()), 7),
        "mean_probability_gap": round(float(difference.mean()), 7),
        "worst_image": int(difference.argmax()),
    }


def gap_one_and_many(run: Run, images: NDArray[np.uint8], reference: NDArray[np.float64], batch: int) -> dict[str, Any]:
    """The larger of two gaps: one image a call, as a service mostly has it, and `batch` images a call.

    OpenVINO compiles a model of fixed shape for one image, which rounds differently.
    """
    found = [gap(logits(run, images, size), reference) for size in (1, batch)]
    return max(found, key=lambda one: float(one["max_probability_gap"]))


def speeds(
    runs: Mapping[str, Run], images: NDArray[np.uint8], batches: Sequence[int], rounds: int
) -> dict[str, dict[int, float]]:
    """Measure median seconds a call at each batch size, engines in turn, so that a busy moment falls on all of them.

    Args:
        runs: engines by name.
        images: uint8 RGB (n, size, size, 3); repeated where a batch is larger.
        batches: images a call.
        rounds: timed calls at batch 1; larger batches get proportionally fewer, at least 2.
    """
    times: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in batches} for name in runs}
    for batch in batches:
        block = np.resize(images, (batch, *images.shape[1:]))
        # the first call warms up
        for _ in range(1 + max(2, rounds // batch)):
            for name, run in runs.items():
                start = time.perf_counter()
                run(block)
                times[name][batch].append(time.perf_counter() - start)
    return {
        name: {batch: float(np.median(seen[1:])) for batch, seen in by_batch.items()}
        for name, by_batch in times.items()
    }


def row(
    engine: ClassifierEngine,
    seconds: Mapping[int, float],
    *,
    memory: int,
    file: Path,
    parity: Mapping[str, Any],
    answered: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]],
    note: str = "",
) -> EngineRow:
    """Put one engine's figures together.

    Args:
        engine: the engine.
        seconds: a call, by batch size; 1 is among them.
        memory: bytes.
        file: its model.
        parity: from `gap`.
        answered: logits (n,), labels (n,) and weights (n,) of the same images.
        note: for people.
    """
    best = max(seconds, key=lambda batch: batch / seconds[batch])
    logit, label, weight = answered
    return EngineRow(
        engine=engine.name,
        precision=engine.precision,
        milliseconds=round(1000 * seconds[1], 2),
        best_batch=best,
        images_per_second=round(best / seconds[best], 1),
        memory_mib=round(memory / 2**20, 1),
        megabytes=round(file.stat().st_size / 1e6, 1),
        max_probability_gap=round(float(parity["max_probability_gap"]), 6),
        mean_probability_gap=round(float(parity["mean_probability_gap"]), 6),
        mcc=round(mcc(label, logit > 0, weight), 4),
        mcc_images=len(label),
        note=note,
    )


def document(rows: Sequence[EngineRow], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Give what reports/export/engines.json holds."""
    return {"machine": dict(machine), "engines": [asdict(one) for one in rows]}


def markdown(report: Mapping[str, Any]) -> str:
    """Give the table of a report, for a Prefect run, MLflow and the docs."""
    head = list(COLUMNS.values())
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line([str(one[key]) for key in COLUMNS]) for one in report["engines"]]
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    return "\n".join([*lines, "", f"Measured beside each other on: {machine}.", ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def this_machine(threads: int) -> dict[str, Any]:
    """Give the processor, its instructions that matter to engines, and the threads of one inference."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = {line.split(":")[0].strip(): line.partition(":")[2].strip() for line in lines if ":" in line}
    flags = set(named.get("flags", "").split())
    wanted = ("avx2", "avx512_vnni", "avx512_bf16", "amx_tile")
    return {
        "processor": named.get("model name", "unknown"),
        "instructions": " ".join(name for name in wanted if name in flags),
        "threads": threads,
    }
