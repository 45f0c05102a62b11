"""A detector in bf16 or int8, kept only if it finds what its fp32 finds: mAP50 on the calibration split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade.detection.boxes import letterbox
from cascade.engines.base import BoxPrecision
from cascade.engines.boxes import CONTRACT_FILE, INT8_FILE, MODEL_FILE, BoxEngine
from cascade.engines.torch_cuda import graph_file
from tasks.common.files import read_json, write_json
from tasks.config.detect import DetectParams
from tasks.data.annotated_images import AnnotatedImage
from tasks.detection.inference import true_views
from tasks.detection.precision import average_precision
from tasks.optimize.int8 import quantize


def choose_precision(
    name: str, folder: Path, pictures: Sequence[AnnotatedImage], params: DetectParams
) -> dict[str, Any]:
    """Measure an exported detector in the precision that is asked for, and let its contract name the one that serves.

    Args:
        name: yolo or detr.
        folder: its export; gets detector_int8.onnx where int8 holds.
        pictures: of the calibration split; ranges are taken from some and precision from others.
        params: section `detect`; `precision` says what each shall run in, from how many pictures and what may be lost.

    Returns:
        mAP50 in that precision and in fp32, whether it is kept, and on how many views; nothing where fp32 is wanted,
        or another engine has its own way to less: bf16 is OpenVINO's, fp16 that of torch on a GPU, whose graph lies
        beside the export, and FP16 in TensorRT `export.precision`'s.

    Raises:
        QuantizationError: the graph cannot be quantized.
    """
    wanted: BoxPrecision = getattr(params.precision, name)
    if not _is_own(wanted, params.engine):
        return {}
    contract = read_json(folder / CONTRACT_FILE)
    ordered = sorted(pictures, key=lambda picture: picture.key)
    count = params.precision.images
    for_ranges, measured = ordered[:count], ordered[count : count + params.precision.metric_images]
    if wanted == "int8":
        squares = [letterbox(true_views(picture, 1, params)[0][0], contract["size"])[0] for picture in for_ranges]
        exclude: tuple[str, ...] = getattr(params.precision.exclude, name)
        quantize(
            folder / MODEL_FILE, np.stack(squares), folder / INT8_FILE, exclude=exclude, transformer=name == "detr"
        )
    before = _precision(folder, measured, params)
    write_json(folder / CONTRACT_FILE, {**contract, "precision": wanted})
    now = _precision(folder, measured, params)
    kept = before - now <= params.precision.max_map_drop
    if not kept:
        for file in (folder / INT8_FILE, graph_file(folder / MODEL_FILE, "fp16")):
            file.unlink(missing_ok=True)
        write_json(folder / CONTRACT_FILE, contract)
    found = {"map50": round(now, 4), "map50_fp32": round(before, 4), "views": len(measured)}
    return {"wanted": wanted, "kept": kept, **found}


def _is_own(wanted: BoxPrecision, engine: str) -> bool:
    """Whether an engine computes in a precision below fp32 by what the contract says."""
    own = {"openvino": ("bf16", "int8"), "onnxruntime": ("int8",), "torch_cuda": ("fp16",)}
    return wanted in own.get(engine, ())


def _precision(folder: Path, pictures: Sequence[AnnotatedImage], params: DetectParams) -> float:
    """mAP50 of what the folder's contract names, one view a picture."""
    engine = BoxEngine(folder, params.engine, params.threads)  # type: ignore[arg-type]  # `auto` was replaced
    views = [true_views(picture, 1, params)[0] for picture in pictures]
    boxes = engine.see([image for image, _ in views])
    engine.close()
    table = average_precision([view.truth for _, view in views], boxes)
    return float(table.get("all", {}).get("map50", 0.0))
