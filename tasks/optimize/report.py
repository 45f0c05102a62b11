"""What each engine is worth: latency, throughput, memory, size, parity with torch and the task's metric."""

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

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
# medians of so many rounds, after one that warms up
ROUNDS, STEP = 5, 8
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
        memory_mib: what loading and the first call added to this process.
        max_probability_gap: against torch fp32, on the parity pictures.
        mcc_images: how many labelled pictures `mcc` is from.
        note: such as why an engine is not the one that serves.
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


def logits(answer: Answer, pictures: NDArray[np.uint8], step: int = STEP) -> NDArray[np.float64]:
    """Logits of all pictures, `step` at a time."""
    parts = [answer(pictures[start : start + step]) for start in range(0, len(pictures), step)]
    return np.concatenate(parts).astype(np.float64)


def gap(logit: NDArray[np.float64], reference: NDArray[np.float64]) -> dict[str, Any]:
    """How far probabilities are from the reference's, both given as logits."""
    apart = np.abs(sigmoid(logit) - sigmoid(reference))
    return {
        "max_probability_gap": round(float(apart.max()), 7),
        "mean_probability_gap": round(float(apart.mean()), 7),
        "worst_image": int(apart.argmax()),
    }


def both_ways(
    answer: Answer, pictures: NDArray[np.uint8], reference: NDArray[np.float64], batch: int
) -> dict[str, Any]:
    """The larger gap of two: asked picture by picture, as a service mostly is, and so many at a time.

    OpenVINO compiles a model of fixed shape for one picture, which rounds differently.
    """
    found = [gap(logits(answer, pictures, step), reference) for step in (1, batch)]
    return max(found, key=lambda one: float(one["max_probability_gap"]))


def speeds(
    answers: Mapping[str, Answer], pictures: NDArray[np.uint8], batches: Sequence[int]
) -> dict[str, dict[int, float]]:
    """Median seconds a call at each batch size, engines in turn, so that a busy moment falls on all of them."""
    times: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in batches} for name in answers}
    for batch in batches:
        block = np.resize(pictures, (batch, *pictures.shape[1:]))
        # larger batches are their own average
        for _ in range(1 + max(2, ROUNDS // batch)):
            for name, answer in answers.items():
                start = time.perf_counter()
                answer(block)
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
    answered: tuple[NDArray[np.float64], NDArray[np.int64]],
    note: str = "",
) -> EngineRow:
    """Put one engine's figures together.

    Args:
        engine: it.
        seconds: a call, by batch size; 1 is among them.
        memory: bytes.
        file: its model.
        parity: from `gap`.
        answered: logits and the labels of their pictures.
        note: for people.
    """
    best = max(seconds, key=lambda batch: batch / seconds[batch])
    logit, label = answered
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
        mcc=round(mcc(label, logit > 0), 4),
        mcc_images=len(label),
        note=note,
    )


def document(rows: Sequence[EngineRow], machine: Mapping[str, Any]) -> dict[str, Any]:
    """What reports/export/engines.json holds."""
    return {"machine": dict(machine), "engines": [asdict(one) for one in rows]}


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report, for a Prefect run, MLflow and the docs."""
    head = list(COLUMNS.values())
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line([str(one[key]) for key in COLUMNS]) for one in report["engines"]]
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    return "\n".join([*lines, "", f"Measured beside each other on: {machine}.", ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def this_machine(threads: int) -> dict[str, Any]:
    """Processor, the instructions that matter, and threads."""
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
