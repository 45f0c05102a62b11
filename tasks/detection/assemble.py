"""One detector on its way into models/detectors: weights, ONNX, and what is proven of the export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import letterbox
from tasks.common.files import read_json
from tasks.data.annotated_images import AnnotatedImage
from tasks.detection.choose_precision import choose_precision
from tasks.detection.export import check_parity, write_detector
from tasks.detection.inference import true_views
from tasks.detection.paths import DetectPaths

if TYPE_CHECKING:
    from tasks.config import Params
    from tasks.config.detect import DetectParams


def assemble_detector(
    name: str,
    params: Params,
    paths: DetectPaths,
    calibration: Sequence[AnnotatedImage],
    folder: Path,
    *,
    ship: bool,
) -> dict[str, Any]:
    """Build a detector, train it or read its shipped weights, and export it.

    Args:
        name: yolo or detr.
        params: sections `detect`, `training` and, for an engine on a GPU, `export`.
        paths: folders of the step.
        calibration: pictures that the export is checked on.
        folder: where the export goes.
        ship: write trained weights into `paths.shipped` as well.

    Returns:
        Its size in MB and px, parity of the engines, what a lower precision or an engine on a GPU keeps, and raw
        against averaged weights where it was trained.

    Raises:
        DataError: pictures, boxes or weights are missing or wrong.
        DetectorParityError: an engine finds other boxes than torch.
        EngineError, BuildError, HalfError, InspectError, ProofError: see `tasks.optimize.verify.export_engine`.
    """
    import torch

    from tasks.detection.training import COMPARISON, train_detector
    from tasks.detection.weights import build, read_weights

    own = params.detect
    torch.set_num_threads(own.threads)
    detector = build(name, own, paths.backbone)
    found: dict[str, Any] = {}
    if own.mode == "train":
        checkpoint = train_detector(name, detector, own, params.training, paths, ship=ship)
        found["weights"] = read_json(checkpoint.with_name(COMPARISON))
    else:
        read_weights(detector, paths.shipped / name)
    detector.eval()
    write_detector(detector, name, folder, own)
    squares = _squares(calibration, detector.size, own)
    found |= {"size": detector.size, "parity": check_parity(detector, folder, squares, own)}
    if own.engine == "tensorrt":
        found["tensorrt"] = _compile(detector, folder, params, squares)
    elif own.engine == "torch_cuda" and getattr(own.precision, name) == "fp16":
        found["torch_cuda"] = _half(detector, folder, params, squares)
    if precision := choose_precision(name, folder, calibration, own):
        found["precision"] = precision
    return {**found, "megabytes": round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6, 2)}


def _compile(detector: Any, folder: Path, params: Params, squares: NDArray[np.uint8]) -> dict[str, Any]:
    """Build the TensorRT engine beside detector.onnx; squares are (n, size, size, 3). Gives what it proved."""
    from tasks.optimize.tensorrt_engines import prove_detector
    from tasks.optimize.verify import export_engine

    precision: Literal["fp16", "fp32"] = "fp16" if params.export.precision == "fp16" else "fp32"
    report = prove_detector(export_engine, detector, folder, params, precision, squares)
    return {name: report[name] for name in ("half_layers", "parity")}


def _half(detector: Any, folder: Path, params: Params, squares: NDArray[np.uint8]) -> dict[str, Any]:
    """Write the graph in fp16 beside detector.onnx; squares are (n, size, size, 3). Gives what it proved on the GPU."""
    from tasks.optimize.cuda_engines import verify_on_card
    from tasks.optimize.tensorrt_engines import prove_detector

    report = prove_detector(verify_on_card, detector, folder, params, "fp16", squares)
    return {name: report[name] for name in ("graph", "device", "parity")}


def _squares(pictures: Sequence[AnnotatedImage], size: int, params: DetectParams) -> NDArray[np.uint8]:
    """A few views to compare engines on, (n, size, size, 3), roadwork first: empty streets have no boxes to compare."""
    chosen = sorted(pictures, key=lambda picture: (-picture.label, picture.key))[: params.parity_images]
    return np.stack([letterbox(true_views(picture, 1, params)[-1][0], size)[0] for picture in chosen])
