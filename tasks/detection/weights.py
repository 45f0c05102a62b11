"""Detectors' weights as files: safetensors beside a manifest, half precision where that loses nothing.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cascade.detection.boxes import CLASSES
from tasks.common.files import read_json, sha256, sha256_file, write_bytes, write_json
from tasks.config.detect import DetectParams
from tasks.data.schema import DataError
from tasks.detection.detr import Detr
from tasks.detection.yolo import Yolo
from tasks.training.checkpoint import trained_tensors

WEIGHTS_FILE, MANIFEST_FILE = "weights.safetensors", "manifest.json"


def build(name: str, params: DetectParams, backbone: Path) -> Any:
    """Make a detector with random weights: "yolo" or "detr"."""
    torch.manual_seed(params.seed)
    if name == "yolo":
        return Yolo(params.yolo)
    return Detr(params.detr, backbone)


def write_weights(tensors: dict[str, torch.Tensor], folder: Path, provenance: dict[str, Any]) -> None:
    """Write weights.safetensors, and last manifest.json with its digest, the classes and `provenance`.

    Matrices and kernels are halved to fp16; norms and running statistics, which can be tiny, stay fp32.
    """
    from safetensors.torch import save

    halved = {
        name: (tensor.cpu().half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor.cpu()).contiguous()
        for name, tensor in tensors.items()
    }
    data = save(halved)
    write_bytes(folder / WEIGHTS_FILE, data)
    write_json(folder / MANIFEST_FILE, {**provenance, "classes": CLASSES, "files": {WEIGHTS_FILE: sha256(data)}})


def read_weights(detector: Any, folder: Path) -> dict[str, Any]:
    """Load weights that `write_weights` wrote into a detector of the same shape.

    Returns:
        The manifest.

    Raises:
        DataError: a file is missing, not what the manifest vouches for, or of another detector.
    """
    from safetensors.torch import load_file

    manifest_file, weights = folder / MANIFEST_FILE, folder / WEIGHTS_FILE
    for path in (manifest_file, weights):
        if not path.is_file():
            raise DataError(f"{path}: no such file; `detect.mode: train` in params.yaml makes new weights")
    manifest = dict(read_json(manifest_file))
    if sha256_file(weights) != manifest["files"][WEIGHTS_FILE]:
        raise DataError(f"{weights}: its sha256 is not the manifest's; restore the file from git")
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(weights).items()
    }
    wanted = trained_tensors(detector)
    if tensors.keys() != wanted.keys() or any(tensors[name].shape != wanted[name].shape for name in wanted):
        raise DataError(
            f"{weights}: holds weights of another detector than detect.{folder.name} in params.yaml describes; "
            "use the parameters it was trained with (see its manifest.json), or `detect.mode: train`"
        )
    detector.load_state_dict(tensors, strict=False)
    return manifest
