"""Step `export`: one ONNX file that takes pixels and gives a calibrated logit, and the engine that runs it best.

`python -m tasks.export` reads models/adapted, models/head and data/pulled and writes models/classifier. Every engine
is compared with torch in fp32 on real pictures; a larger gap fails the step and leaves the previous folder as it was.
Int8 must hold its MCC as well; where it does not, bf16 takes its place, and the report says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import Kind, Precision
from cascade.engines.classifier import CONTRACT_FILE, INT8_FILE, MODEL_FILE
from cascade.engines.select import EngineChoice, choose_engine
from tasks.common.files import new_folder, read_json, write_bytes, write_json
from tasks.config import ConfigError, ExportParams, load_params
from tasks.data.schema import DataError
from tasks.optimize.benchmark import BenchmarkResult, compare
from tasks.optimize.exclusions import Exclusion, choose_exclusions
from tasks.optimize.groupwise_int8 import compress
from tasks.optimize.int8 import quantize
from tasks.optimize.pictures import CalibrationImages, calibration_images
from tasks.optimize.report import document, logits, markdown, this_machine

if TYPE_CHECKING:
    from tasks.classifier.model import Classifier

BACKBONE, HEAD, PULLED = Path("models/adapted"), Path("models/head"), Path("data/pulled")
CLASSIFIER, REPORT = Path("models/classifier"), Path("reports/export/metrics.json")
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class ParityError(ValueError):
    """An engine's answers differ from torch's by more than params.export.max_probability_gap."""


@dataclass(frozen=True)
class ExportInputs:
    """The folders that the step reads."""

    backbone: Path = BACKBONE
    head: Path = HEAD
    pulled: Path = PULLED


def export(
    params: ExportParams, inputs: ExportInputs | None = None, folder: Path = CLASSIFIER, report: Path = REPORT
) -> dict[str, Any]:
    """Write the classifier's folder (ONNX, contract, settings, parity), metrics.json, and engines.json with timings.

    Returns:
        The metrics.

    Raises:
        ParityError: an engine is too far from torch.
        DataError: the head or the calibration split is missing, or a picture in it is broken.
        QuantizationError: the graph cannot be quantized.
        EngineError: no engine of those that are asked for can run here.
    """
    inputs = inputs or ExportInputs()
    head = _head(inputs.head)
    wanted = max(params.parity_images, params.int8.metric_images) + params.int8.images
    pictures = calibration_images(inputs.pulled, wanted, head["size"])
    choice = choose_engine(params.engine, params.precision)
    with new_folder(folder) as partial:
        reference = _write_model(inputs, head, params, partial)
        truth = logits(reference, pictures.pixels)
        kept = _quantize(choice, params, pictures, truth, partial)
        built = _compile(choice, params, pictures, reference, partial)
        trial = compare(partial, choice, params, pictures, truth)
        _check(trial, params.max_probability_gap)
        served = trial.served
        if served[1] != "int8":
            (partial / INT8_FILE).unlink(missing_ok=True)
        write_json(partial / "classifier.json", _description(head, params, served))
        write_json(partial / "parity.json", trial.parity)
        files = {path.name: round(path.stat().st_size / 1e6, 3) for path in sorted(partial.glob("*.onnx"))}
    metrics = {
        "megabytes": files,
        "images": trial.parity["images"],
        **trial.metrics(kept),
        **built,
        "skipped": {**choice.skipped, **trial.skipped},
    }
    write_json(report, metrics)
    # timings differ from run to run: beside the metrics, not among them, so that dvc.lock does not
    table = document(trial.rows, this_machine(params.threads))
    write_json(report.with_name("engines.json"), table)
    write_bytes(report.with_name("engines.md"), markdown(table).encode())
    return metrics


def _head(folder: Path) -> dict[str, Any]:
    path = folder / "head.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro train` writes it")
    return dict(read_json(path))


def _write_model(inputs: ExportInputs, head: dict[str, Any], params: ExportParams, folder: Path) -> Answer:
    """Write the slimmed graph and its contract; gives torch's answers, those of the model as it was trained."""
    from tasks.classifier.model import Classifier, write_onnx
    from tasks.optimize.fold import fold

    model = Classifier(inputs.backbone, inputs.head, head)
    model.eval()
    write_onnx(fold(model), head["size"], folder / MODEL_FILE)
    write_json(folder / CONTRACT_FILE, _contract(head["size"], params))
    return _torch_answer(model, params.threads)


def _contract(size: int, params: ExportParams) -> dict[str, Any]:
    return {
        "input": {"dtype": "uint8", "shape": [None, size, size, 3]},
        "output": {"name": "logit", "shape": [None]},
        "min_batch": params.batch.minimum,
        "optimum_batch": params.batch.optimum,
        "max_batch": params.batch.maximum,
    }


def _quantize(
    choice: EngineChoice, params: ExportParams, pictures: CalibrationImages, truth: NDArray[np.float64], folder: Path
) -> Exclusion:
    """Write the int8 model where it is asked for; gives the nodes that it leaves alone."""
    if choice.precision != "int8":
        return ()
    source, target, int8 = folder / MODEL_FILE, folder / INT8_FILE, params.int8

    def write(keep: Exclusion) -> None:
        if int8.activations == "dynamic":
            compress(source, target, keep)
        else:
            # the last ones: what ranges were fitted to proves nothing about parity
            quantize(source, pictures.last(int8.images).pixels, target, keep=keep, transformer=True)

    judged = pictures.first(int8.metric_images).pixels
    return choose_exclusions(write, folder, choice.kind, params, judged, truth[: len(judged)])


def _compile(
    choice: EngineChoice, params: ExportParams, pictures: CalibrationImages, reference: Answer, folder: Path
) -> dict[str, Any]:
    """Build a TensorRT engine where that was chosen; gives what it proved."""
    if choice.kind != "tensorrt":
        return {}
    from tasks.optimize.compile import compile_classifier

    precision: Literal["fp16", "fp32"] = "fp16" if choice.precision == "fp16" else "fp32"
    report = compile_classifier(folder, params, precision, pictures.first(params.int8.metric_images), reference)
    return {"tensorrt": {name: report[name] for name in ("half_layers", "parity", "metric")}}


def _description(head: dict[str, Any], params: ExportParams, served: tuple[Kind, Precision]) -> dict[str, Any]:
    """What the runtime has to know beside the graph."""
    kept = {name: head[name] for name in ("exits", "tta_band", "exit_fit", "risk", "risk_confidence", "size", "layers")}
    engine, precision = served
    return {
        **kept,
        "calibration": head["calibration"],
        "engine": engine,
        "precision": precision,
        "threads": params.threads,
    }


def _torch_answer(model: Classifier, threads: int) -> Answer:
    import torch

    torch.set_num_threads(threads)

    def answer(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()  # type: ignore[no-any-return]

    return answer


def _check(trial: BenchmarkResult, limit: float) -> None:
    for name, found in trial.parity["engines"].items():
        if found["max_probability_gap"] > limit:
            raise ParityError(
                f"{name} ({found['precision']}) differs from torch by {found['max_probability_gap']:.4f} in "
                f"probability on parity picture {found['worst_image']}; export.max_probability_gap allows {limit}. "
                "The previous classifier stays. Try export.precision: fp32"
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    argparse.ArgumentParser(prog="python -m tasks.export", description=__doc__).parse_args(arguments)
    try:
        print(export(load_params().export))
    except (ConfigError, ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
