"""From a trained classifier to the folder that a release serves: ONNX, contract, int8 or TensorRT engine, settings.

Every engine is compared with torch in fp32 on real images. One that differs by more than the limit is an error, and the
previous folder stays. Int8 must keep its MCC as well; where it does not, bf16 serves, and the report says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cascade.engines.base import ON_CARD
from cascade.engines.classifier import INT8_FILE, MODEL_FILE
from cascade.engines.select import EngineChoice, choose_engine
from cascade.evaluate.prior import describe_prior
from tasks.common.files import new_folder, read_json, write_bytes, write_json
from tasks.common.metrics import write_metrics
from tasks.config import ExportParams
from tasks.data.schema import DataError
from tasks.optimize.benchmark import BenchmarkResult, Logits, benchmark
from tasks.optimize.calibration_images import CalibrationImages, calibration_images
from tasks.optimize.classifier_files import settings_of, write_model
from tasks.optimize.exclusions import ChosenExclusion, Exclusion, choose_exclusions
from tasks.optimize.groupwise_int8 import compress
from tasks.optimize.int8 import quantize
from tasks.optimize.report import Run, document, logits, markdown, this_machine

# of head.json: what the head reaches on the calibration split, and what the constant answer does
BESIDE = ("calibrated", "constant")
# of an engine on a GPU, what the metrics say of its verification
PROVEN = {"tensorrt": ("half_layers", "parity", "metric"), "torch_cuda": ("graph", "device", "parity", "metric")}
HEADLINE = ("parity.openvino.max_probability_gap", "int8.accepted", "int8.mcc")


class ParityError(ValueError):
    """An engine's probabilities differ from torch's by more than params.export.max_probability_gap."""


@dataclass(frozen=True)
class ExportInputs:
    """The folders that are read: backbone, trained head, and pulled data."""

    backbone: Path
    head: Path
    pulled: Path


def export(
    params: ExportParams, inputs: ExportInputs, folder: Path, report: Path, *, prior: float | None, card: bool = True
) -> dict[str, Any]:
    """Write the classifier's folder, the metrics, and beside these engines.json and engines.md with the timings.

    Args:
        params: section `export`.
        inputs: what is read.
        folder: gets ONNX, contract.json, classifier.json and parity.json; is replaced in one step.
        report: path of metrics.json.
        prior: share of roadwork that MCC is for; None for that of the calibration split.
        card: whether the profile lets stages use a GPU, `memory.gpu_gib`.

    Returns:
        The metrics.

    Raises:
        ParityError: an engine is too far from torch.
        DataError: the head or the calibration split is missing, an image in it is broken, or the head is no better
            than the constant answer.
        QuantizationError: the graph cannot be quantized.
        EngineError: none of the engines that are asked for can run here.
    """
    head, choice = _read_head(inputs.head), choose_engine(params.engine, params.precision, card=card)
    wanted = max(params.parity_images, params.int8.metric_images) + params.int8.images
    images = calibration_images(inputs.pulled, wanted, head["size"], prior=prior)
    with new_folder(folder) as partial:
        run = write_model(inputs.backbone, inputs.head, head, params, partial)
        reference = logits(run, images.pixels, params.benchmark.batch)
        excluded = _write_int8(choice, params, images, reference, partial)
        built = _build_for_card(choice, params, images, run, partial)
        found = benchmark(partial, choice, params, images, reference, excluded.gap)
        _finish(partial, head, params, found)
        files = {path.name: round(path.stat().st_size / 1e6, 3) for path in sorted(partial.glob("*.onnx"))}
    metrics = {
        "megabytes": files,
        "images": found.images,
        "prior": prior,
        **{name: head[name] for name in BESIDE},
        **found.metrics(excluded.nodes),
        **built,
        "skipped": {**choice.skipped, **found.skipped},
    }
    _write_reports(report, metrics, found, params.threads)
    return metrics


def _read_head(folder: Path) -> dict[str, Any]:
    path = folder / "head.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; `dvc repro train` writes it")
    head = dict(read_json(path))
    _refuse_constant(head, path)
    return head


def _refuse_constant(head: dict[str, Any], path: Path) -> None:
    """Refuse a head whose reward on the calibration split an answer that is always the same would reach as well.

    Args:
        head: its head.json.
        path: of that.

    Raises:
        DataError: names both rewards.
    """
    if missing := [name for name in BESIDE if name not in head]:
        raise DataError(f"{path}: has no {' and no '.join(missing)}; `dvc repro train` writes another")
    own, constant = (float(head[name]["reward"]) for name in BESIDE)
    # written so that NaN is refused
    if not own > constant:
        raise DataError(
            f"{path}: reward {own:.4f} on the calibration split ({describe_prior(head.get('prior'))}), not above the "
            f"{constant:.4f} of always giving the same label; such a head is not exported. Train on more or other data"
        )


def _write_int8(
    choice: EngineChoice, params: ExportParams, images: CalibrationImages, reference: Logits, folder: Path
) -> ChosenExclusion:
    """Write the int8 model where it is asked for; gives the nodes that are not quantized, and its gap to torch."""
    if choice.precision != "int8":
        return ChosenExclusion((), None)
    source, target, int8 = folder / MODEL_FILE, folder / INT8_FILE, params.int8

    def write(exclude: Exclusion) -> None:
        if int8.activations == "dynamic":
            compress(source, target, exclude)
            return
        # the last ones: parity is measured on the first, and ranges must not be fitted to those
        shown = images.last(int8.images).pixels
        alpha = int8.smooth_quant_alpha
        quantize(source, shown, target, exclude=exclude, transformer=True, smooth_quant_alpha=alpha)

    measured = images.first(int8.metric_images).pixels
    return choose_exclusions(write, folder, choice.kind, params, measured, reference[: len(measured)])


def _build_for_card(
    choice: EngineChoice, params: ExportParams, images: CalibrationImages, run: Run, folder: Path
) -> dict[str, Any]:
    """Write what an engine on a GPU needs, where one was chosen; gives what its verification measured."""
    if choice.kind not in ON_CARD:
        return {}
    from tasks.optimize.cuda_engines import write_classifier
    from tasks.optimize.tensorrt_engines import compile_classifier

    precision: Literal["fp16", "fp32"] = "fp16" if choice.precision == "fp16" else "fp32"
    build = compile_classifier if choice.kind == "tensorrt" else write_classifier
    report = build(folder, params, precision, images.first(params.int8.metric_images), run)
    return {choice.kind: {name: report[name] for name in PROVEN[choice.kind]}}


def _finish(folder: Path, head: dict[str, Any], params: ExportParams, found: BenchmarkResult) -> None:
    """Check parity, drop an int8 model that does not serve, and write settings and parity."""
    limit = params.max_probability_gap
    for name, engine in found.parity.items():
        if engine["max_probability_gap"] > limit:
            raise ParityError(
                f"{name} ({engine['precision']}) differs from torch by {engine['max_probability_gap']:.4f} in "
                f"probability on parity picture {engine['worst_image']}; export.max_probability_gap allows {limit}. "
                "The previous classifier stays. Try export.precision: fp32"
            )
    if found.served[1] != "int8":
        (folder / INT8_FILE).unlink(missing_ok=True)
    write_json(folder / "classifier.json", settings_of(head, params, found.served))
    write_json(folder / "parity.json", {"images": found.images, "engines": found.parity, "limit": limit})


def _write_reports(report: Path, metrics: dict[str, Any], found: BenchmarkResult, threads: int) -> None:
    write_metrics(report, metrics, HEADLINE)
    # timings differ from run to run: kept out of the metrics, so that dvc.lock does not change with them
    table = document(found.rows, this_machine(threads))
    write_json(report.with_name("engines.json"), table)
    write_bytes(report.with_name("engines.md"), markdown(table).encode())
