"""TensorRT engines of the classifier and the detectors, with the images, limits and metrics of their own steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade.engines.boxes import MODEL_FILE as DETECTOR_FILE
from cascade.engines.boxes import OUTPUTS
from cascade.engines.classifier import MODEL_FILE
from cascade.evaluate.scores import mcc
from tasks.config import ExportParams, Params
from tasks.optimize.calibration_images import CalibrationImages
from tasks.optimize.parity import Outputs, ParityLimits, ParityReference
from tasks.optimize.report import Run, logits
from tasks.optimize.verify import EngineRequest, export_engine


def compile_classifier(
    folder: Path, params: ExportParams, precision: Literal["fp16", "fp32"], images: CalibrationImages, reference: Run
) -> dict[str, Any]:
    """Write `classifier.engine` and its record beside `classifier.onnx`, verified on labelled images.

    Args:
        folder: holds the FP32 graph.
        params: section `export`.
        precision: asked for.
        images: of the calibration split; MCC is measured on all of them.
        reference: torch in FP32.

    Returns:
        The engine's report.

    Raises:
        EngineError, BuildError, HalfError, InspectError, VerificationError: see `export_engine`.
    """
    return export_engine(classifier_request(folder, params, precision), labelled(images, reference, params))


def prove_detector(
    prove: Callable[[EngineRequest, ParityReference], dict[str, Any]],
    detector: Any,
    folder: Path,
    params: Params,
    precision: Literal["fp16", "fp32"],
    squares: NDArray[np.uint8],
) -> dict[str, Any]:
    """Write a detector's engine for a GPU beside `detector.onnx`, held against torch on real images.

    Args:
        prove: `export_engine` for TensorRT, `tasks.optimize.cuda_engines.verify_on_card` for torch on the card.
        detector: the torch module, in evaluation mode.
        folder: holds the export.
        params: section `detect` for batch and limits, `export` for the limits that all engines share and the builder.
        precision: asked for.
        squares: uint8 RGB (n, size, size, 3), real ones.

    Returns:
        The report of `prove`, and its errors.
    """
    own, limits = params.detect, params.export.tensorrt
    gaps = limits_of(params.export, probability_gap=own.max_score_gap, corner_gap=own.max_corner_gap)
    request = EngineRequest(folder / DETECTOR_FILE, precision, (1, 1, own.max_batch), gaps, limits)
    return prove(request, ParityReference(squares, torch_outputs(detector, squares)))


def classifier_request(folder: Path, params: ExportParams, precision: Literal["fp16", "fp32"]) -> EngineRequest:
    """What is asked of the classifier's engine."""
    limits = limits_of(params, probability_gap=params.max_probability_gap, metric_drop=params.tensorrt.max_metric_drop)
    batches = (params.batch.minimum, params.batch.optimum, params.batch.maximum)
    return EngineRequest(folder / MODEL_FILE, precision, batches, limits, params.tensorrt)


def labelled(images: CalibrationImages, reference: Run, params: ExportParams) -> ParityReference:
    """Torch's answers for labelled images, and their MCC."""

    def metric(outputs: Outputs) -> float:
        return float(mcc(images.label, outputs["logit"] > 0, images.weight))

    outputs = {"logit": logits(reference, images.pixels, params.benchmark.batch)}
    return ParityReference(images.pixels, outputs, metric)


def limits_of(params: ExportParams, **own: float) -> ParityLimits:
    """The limits that all engines share, and a model's own."""
    return ParityLimits(
        cosine=params.tensorrt.min_cosine,
        half_share=params.tensorrt.min_half_share,
        boxes=params.tensorrt.parity_boxes,
        quantile=params.tensorrt.parity_quantile,
        **own,
    )


def torch_outputs(detector: Any, squares: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """What a detector in evaluation mode answers to squares (n, size, size, 3), by name."""
    import torch

    with torch.inference_mode():
        parts = detector(torch.from_numpy(squares))
    return {name: part.numpy() for name, part in zip(OUTPUTS, parts, strict=True)}
