"""All engines of a machine on the same images: how near each is to torch, how fast it is, and which one serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import EngineError, Kind, Precision, device_of
from cascade.engines.classifier import INT8_FILE, MODEL_FILE, ClassifierEngine, load_engine
from cascade.engines.select import EngineChoice
from cascade.process.memory import Meter
from tasks.config import ExportParams
from tasks.optimize.calibration_images import CalibrationImages
from tasks.optimize.int8 import Int8Decision, decide_int8
from tasks.optimize.report import EngineRow, gap, gap_one_and_many, logits, row, speeds

Key = tuple[Kind, Precision]
Logits = NDArray[np.float64]
# compared on every machine that exports, besides the engine that serves
ALWAYS: tuple[Key, ...] = (("onnxruntime", "fp32"), ("torch", "fp32"))


@dataclass(frozen=True)
class BenchmarkResult:
    """What was measured.

    Attributes:
        served: engine and precision for the release.
        parity: gaps to torch fp32 of the engines that must keep `export.max_probability_gap`, by engine.
        images: that the gaps were measured on.
        int8: the decision, where int8 was asked for.
        rows: of the report.
        skipped: engines that cannot load the graph, and why.
    """

    served: Key
    parity: dict[str, dict[str, Any]]
    images: int
    int8: Int8Decision | None
    rows: list[EngineRow]
    skipped: dict[str, str]

    def metrics(self, exclusions: Sequence[str] = ()) -> dict[str, Any]:
        """Give what does not depend on how busy the machine was; `exclusions` are the nodes that int8 left out."""
        found: dict[str, Any] = {"parity": self.parity}
        return found if self.int8 is None else {**found, "int8": {**asdict(self.int8), "exclusions": list(exclusions)}}


@dataclass
class LoadedEngines:
    """The engines that are compared, the first of which was asked for.

    Attributes:
        engines: loaded, in order.
        memory: bytes that loading and the first call added to this process, in RAM or on the card that it computes on.
        skipped: engines that cannot load the graph, and why.
    """

    engines: dict[Key, ClassifierEngine] = field(default_factory=dict)
    memory: dict[Key, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What one engine answered: logits, labels and weights of the labels (n,), and its gap to torch."""

    logit: Logits
    label: NDArray[np.int64]
    weight: NDArray[np.float64]
    gap: dict[str, Any]


def benchmark(
    folder: Path,
    choice: EngineChoice,
    params: ExportParams,
    images: CalibrationImages,
    reference: Logits,
    int8_gap: dict[str, Any] | None = None,
) -> BenchmarkResult:
    """Load every engine that this machine has, compare it with torch, time it, and decide which one serves.

    Args:
        folder: the model, its contract, and the int8 model where int8 was asked for.
        choice: the engine and precision that are asked for.
        params: section `export`.
        images: the first are for parity and MCC.
        reference: logits of all of them by torch in fp32, of the model as it was trained, (n,).
        int8_gap: of the int8 model, where it was measured before on the images for MCC.

    Raises:
        EngineError: an engine does not load, or its outputs break the contract.
    """
    with open_engines(folder, candidates(choice), params.threads) as loaded:
        measured = _measure_all(loaded.engines, choice, params, images, reference, int8_gap)
        shown = images.first(params.parity_images)
        seconds = _speeds(loaded.engines, shown, params)
        decision = _decide(measured, params) if choice.precision == "int8" else None
        first, fallback = list(loaded.engines)[:2]
        served = first if decision is None or decision.accepted else fallback
        notes = {key: _note(key, served, decision) for key in loaded.engines}
        rows = [_row(key, loaded, measured[key], seconds[key], folder, notes[key]) for key in loaded.engines]
        parity: dict[str, dict[str, Any]] = {
            key[0]: {"precision": engine.precision, **measured[key].gap}
            for key, engine in loaded.engines.items()
            if key[1] != "int8"
        }
    return BenchmarkResult(served, parity, len(shown.label), decision, rows, loaded.skipped)


def candidates(choice: EngineChoice) -> list[Key]:
    """List the engines to compare: the chosen one first, what it falls back to second, then those of `ALWAYS`."""
    first: list[Key] = [(choice.kind, choice.precision)]
    if choice.precision == "int8":
        first.append((choice.kind, "bf16" if choice.kind == "openvino" else "fp32"))
    elif choice.kind != "openvino":
        first.append(("openvino", "bf16"))
    return first + [key for key in ALWAYS if key not in first]


@contextmanager
def open_engines(folder: Path, keys: Sequence[Key], threads: int) -> Iterator[LoadedEngines]:
    """Load engines for the length of a block; each has answered once, so that its memory is taken.

    Raises:
        EngineError: an engine does not load. Torch may fail unless it is the one that is asked for: its table of
            operators may lack one of a new head.
    """
    loaded = LoadedEngines()
    with ExitStack() as stack:
        for key in keys:
            meter = Meter(device_of(key[0]))
            try:
                engine = load_engine(folder, *key, threads)
            except EngineError as error:
                if key[0] != "torch" or key == keys[0]:
                    raise
                loaded.skipped["torch"] = str(error)
                continue
            stack.callback(engine.close)
            engine.run(np.zeros((1, *engine.contract.input.shape[1:]), dtype=np.uint8))
            loaded.engines[key] = engine
            loaded.memory[key] = meter.taken()
        yield loaded


def _measure_all(
    engines: Mapping[Key, ClassifierEngine],
    choice: EngineChoice,
    params: ExportParams,
    images: CalibrationImages,
    reference: Logits,
    int8_gap: dict[str, Any] | None,
) -> dict[Key, Measurement]:
    """Run every engine: those that may serve on the images for MCC, the others on the fewer ones for parity alone."""
    parity_set, metric_set = images.first(params.parity_images), images.first(params.int8.metric_images)
    may_serve = list(engines)[: 2 if choice.precision == "int8" else 1]
    known, batch = reference[: len(parity_set.label)], params.benchmark.batch
    found = {}
    for key, engine in engines.items():
        shown = metric_set if key in may_serve else parity_set
        logit = logits(engine.run, _larger(shown, parity_set), batch)
        distance = gap(logit[: len(known)], known)
        if key[1] == "int8":
            pixels, many = metric_set.pixels, params.batch.optimum
            distance = int8_gap or gap_one_and_many(engine.run, pixels, reference[: len(pixels)], many)
        found[key] = Measurement(logit[: len(shown.label)], shown.label, shown.weight, distance)
    return found


def _larger(one: CalibrationImages, other: CalibrationImages) -> NDArray[np.uint8]:
    """The pixels of the larger of two sets that begin alike."""
    return one.pixels if len(one.label) >= len(other.label) else other.pixels


def _speeds(
    engines: Mapping[Key, ClassifierEngine], images: CalibrationImages, params: ExportParams
) -> dict[Key, dict[int, float]]:
    runs = {"/".join(key): engine.run for key, engine in engines.items()}
    found = speeds(runs, images.pixels, [1, params.batch.optimum], params.benchmark.rounds)
    return {key: found["/".join(key)] for key in engines}


def _row(
    key: Key, loaded: LoadedEngines, measured: Measurement, seconds: Mapping[int, float], folder: Path, note: str
) -> EngineRow:
    return row(
        loaded.engines[key],
        seconds,
        memory=loaded.memory[key],
        file=folder / (INT8_FILE if key[1] == "int8" else MODEL_FILE),
        parity=measured.gap,
        answered=(measured.logit, measured.label, measured.weight),
        note=note,
    )


def _decide(measured: Mapping[Key, Measurement], params: ExportParams) -> Int8Decision:
    """Compare int8 with the engine that it would replace; both answered the same images."""
    first, fallback = list(measured.values())[:2]
    return decide_int8(
        first.logit,
        fallback.logit,
        first.label,
        first.gap["max_probability_gap"],
        weight=first.weight,
        max_mcc_drop=params.int8.max_mcc_drop,
        max_probability_gap=params.int8.max_probability_gap,
    )


def _note(key: Key, served: Key, decision: Int8Decision | None) -> str:
    if key == served:
        return "serves"
    return f"refused: {decision.why}" if key[1] == "int8" and decision is not None else ""
