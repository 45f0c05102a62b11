"""All engines side by side on the same pictures: who is near enough to torch, and who serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import EngineError, Kind, Precision
from cascade.engines.classifier import INT8_FILE, MODEL_FILE, ClassifierEngine, load_engine
from cascade.engines.select import EngineChoice
from cascade.process.memory import resident_bytes
from tasks.config import ExportParams
from tasks.optimize.int8 import Int8Decision, decide_int8
from tasks.optimize.pictures import CalibrationImages
from tasks.optimize.report import EngineRow, both_ways, gap, logits, row, speeds

Key = tuple[Kind, Precision]
# on every machine that exports; the one that serves is added
ALWAYS: tuple[Key, ...] = (("onnxruntime", "fp32"), ("torch", "fp32"))


@dataclass(frozen=True)
class BenchmarkResult:
    """What was found.

    Attributes:
        served: engine and precision for the release.
        parity: gaps against torch fp32, of the engines that must keep `export.max_probability_gap`.
        int8: the verdict, where int8 was asked for.
        rows: the report.
        skipped: engines to compare with that cannot load the graph, and why.
    """

    served: Key
    parity: dict[str, Any]
    int8: Int8Decision | None
    rows: list[EngineRow]
    skipped: dict[str, str]

    def metrics(self, keep: Sequence[str] = ()) -> dict[str, Any]:
        """What does not depend on how busy the machine was; `keep` names the nodes that int8 left alone."""
        found: dict[str, Any] = {"parity": self.parity["engines"]}
        return found if self.int8 is None else {**found, "int8": {**asdict(self.int8), "keep": list(keep)}}


def compare(
    folder: Path, choice: EngineChoice, params: ExportParams, pictures: CalibrationImages, truth: NDArray[np.float64]
) -> BenchmarkResult:
    """Load every engine that this machine has, answer, time and VLM.

    Args:
        folder: the model, its contract, and the int8 model where int8 was asked for.
        choice: what params and machine ask for.
        params: section `export`.
        pictures: the first are for parity and MCC.
        truth: logits of all of them by torch in fp32, of the model as it was trained.

    Raises:
        EngineError: an engine does not load, or its answers are no answers.
    """
    parity_set, metric_set = pictures.first(params.parity_images), pictures.first(params.int8.metric_images)
    wanted = candidates(choice)
    engines, memory, skipped = _load(folder, wanted, params.threads)
    keys = [key for key in wanted if key in engines]
    try:
        # engines that cannot serve answer the parity pictures alone: in fp32 they are slow, and all alike
        running = keys[: 2 if choice.precision == "int8" else 1]
        sets = {key: metric_set if key in running else parity_set for key in keys}
        answers = {key: logits(engines[key].run, _both(sets[key], parity_set)) for key in keys}
        known = truth[: len(parity_set.label)]
        gaps = {key: gap(answers[key][: len(known)], known) for key in keys}
        if choice.precision == "int8":
            asked = metric_set.pixels
            gaps[keys[0]] = both_ways(engines[keys[0]].run, asked, truth[: len(asked)], params.batch.optimum)
        seconds = speeds(
            {"/".join(key): engines[key].run for key in keys}, parity_set.pixels, [1, params.batch.optimum]
        )
        verdict = _verdict(keys, answers, gaps, metric_set, params)
        served = keys[0] if verdict is None or verdict.kept else keys[1]
        rows = [
            row(
                engines[key],
                seconds["/".join(key)],
                memory=memory[key],
                file=folder / (INT8_FILE if key[1] == "int8" else MODEL_FILE),
                parity=gaps[key],
                answered=(answers[key][: len(sets[key].label)], sets[key].label),
                note=_note(key, served, verdict),
            )
            for key in keys
        ]
        parity = {key[0]: {"precision": engines[key].precision, **gaps[key]} for key in keys if key[1] != "int8"}
    finally:
        for engine in engines.values():
            engine.close()
    about = {"images": len(known), "engines": parity, "limit": params.max_probability_gap}
    return BenchmarkResult(served, about, verdict, rows, skipped)


def candidates(choice: EngineChoice) -> list[Key]:
    """The engines of a trial: the chosen one first, what it falls back to second, then those to compare with."""
    first: list[Key] = [(choice.kind, choice.precision)]
    if choice.precision == "int8":
        first.append((choice.kind, "bf16" if choice.kind == "openvino" else "fp32"))
    elif choice.kind != "openvino":
        first.append(("openvino", "bf16"))
    return first + [key for key in ALWAYS if key not in first]


def _both(chosen: CalibrationImages, parity: CalibrationImages) -> NDArray[np.uint8]:
    """The larger of two sets that begin alike."""
    return chosen.pixels if len(chosen.label) >= len(parity.label) else parity.pixels


def _load(
    folder: Path, keys: list[Key], threads: int
) -> tuple[dict[Key, ClassifierEngine], dict[Key, int], dict[str, str]]:
    engines: dict[Key, ClassifierEngine] = {}
    memory: dict[Key, int] = {}
    skipped: dict[str, str] = {}
    try:
        for key in keys:
            before = resident_bytes()
            try:
                engine = load_engine(folder, *key, threads)
            except EngineError as error:
                # our table of operators in torch may lack one of a new head; that is no fault of the graph
                if key[0] != "torch" or key == keys[0]:
                    raise
                skipped["torch"] = str(error)
                continue
            engines[key] = engine
            engine.run(np.zeros((1, *engine.contract.input.shape[1:]), dtype=np.uint8))
            memory[key] = max(0, resident_bytes() - before)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return engines, memory, skipped


def _verdict(
    keys: list[Key],
    answers: dict[Key, NDArray[np.float64]],
    gaps: dict[Key, dict[str, Any]],
    labelled: CalibrationImages,
    params: ExportParams,
) -> Int8Decision | None:
    first, second = keys[0], keys[1]
    if first[1] != "int8":
        return None
    count = len(labelled.label)
    return decide_int8(
        answers[first][:count],
        answers[second][:count],
        labelled.label,
        gaps[first]["max_probability_gap"],
        max_mcc_drop=params.int8.max_mcc_drop,
        max_probability_gap=params.int8.max_probability_gap,
    )


def _note(key: Key, served: Key, verdict: Int8Decision | None) -> str:
    if key == served:
        return "serves"
    return f"refused: {verdict.why}" if key[1] == "int8" and verdict is not None else ""
