"""TensorRT engines of the classifier and the detectors, with the pictures, limits and metrics of their own steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade.engines.boxes import MODEL_FILE as DETECTOR_FILE
from cascade.engines.boxes import OUTPUTS
from cascade.engines.classifier import MODEL_FILE
from cascade.evaluate.scores import mcc
from tasks.config import ExportParams
from tasks.optimize.parity import Arrays, ParityLimits, ParityReport
from tasks.optimize.pictures import CalibrationImages
from tasks.optimize.report import Answer, logits
from tasks.optimize.verify import EngineRequest, export_engine


def compile_classifier(
    folder: Path,
    params: ExportParams,
    precision: Literal["fp16", "fp32"],
    pictures: CalibrationImages,
    reference: Answer,
) -> dict[str, Any]:
    """Write `classifier.engine` and its record beside `classifier.onnx`, proven on labelled pictures.

    Args:
        folder: holds the FP32 graph.
        params: section `export`.
        precision: wanted.
        pictures: of the calibration split; MCC is measured on all of them.
        reference: torch in FP32.

    Returns:
        The engine's report.

    Raises:
        EngineError, BuildError, HalfError, InspectError, ProofError: see `export_engine`.
    """
    limits = ParityLimits(
        cosine=params.tensorrt.min_cosine,
        probability_gap=params.max_probability_gap,
        metric_drop=params.tensorrt.max_metric_drop,
        half_share=params.tensorrt.min_half_share,
    )
    batches = (params.batch.minimum, params.batch.optimum, params.batch.maximum)
    wish = EngineRequest(folder / MODEL_FILE, precision, batches, limits, params.tensorrt)

    def metric(answers: Arrays) -> float:
        return float(mcc(pictures.label, answers["logit"] > 0))

    return export_engine(wish, ParityReport(pictures.pixels, {"logit": logits(reference, pictures.pixels)}, metric))


def compile_detector(
    detector: Any,
    folder: Path,
    params: ExportParams,
    squares: NDArray[np.uint8],
    *,
    max_batch: int,
    max_corner: float,
    max_score: float,
) -> dict[str, Any]:
    """Write `detector.engine` and its record beside `detector.onnx`.

    Args:
        detector: the torch module, in evaluation mode.
        folder: holds the export.
        params: section `export`, for the builder and its limits.
        squares: uint8 (n, size, size, 3), real ones.
        max_batch: what the contract promises.
        max_corner: `detect.max_corner_gap`.
        max_score: `detect.max_score_gap`.

    Raises:
        EngineError, BuildError, HalfError, InspectError, ProofError: see `export_engine`.
    """
    import torch

    with torch.inference_mode():
        reference = {
            name: part.numpy() for name, part in zip(OUTPUTS, detector(torch.from_numpy(squares)), strict=True)
        }
    limits = ParityLimits(
        cosine=params.tensorrt.min_cosine,
        probability_gap=max_score,
        corner_gap=max_corner,
        half_share=params.tensorrt.min_half_share,
    )
    precision: Literal["fp16", "fp32"] = "fp16" if params.precision == "fp16" else "fp32"
    wish = EngineRequest(folder / DETECTOR_FILE, precision, (1, 1, max_batch), limits, params.tensorrt)
    return export_engine(wish, ParityReport(squares, reference))
