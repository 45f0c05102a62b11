"""A trained detector as one ONNX file with its contract, and proof that the engines see what torch sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.detection.boxes import CLASSES
from cascade.engines.boxes import CONTRACT_FILE, MODEL_FILE, OUTPUTS, Arrays, BoxContract, BoxNetwork
from tasks.classifier.onnx_export import write_graph
from tasks.common.files import write_json
from tasks.config.detect import DetectParams


class DetectorParityError(ValueError):
    """An engine's boxes differ from torch's by more than params.detect allows."""


def write_detector(detector: Any, name: str, folder: Path, params: DetectParams) -> None:
    """Write detector.onnx, uint8 squares in and corners and scores out, and contract.json.

    Args:
        detector: in evaluation mode.
        name: yolo or detr.
        folder: for both files.
        params: section `detect`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(detector, detector.size, folder / MODEL_FILE, OUTPUTS)
    write_json(
        folder / CONTRACT_FILE, contract_of(detector, name, params).model_dump(mode="json", exclude_defaults=True)
    )


def contract_of(detector: Any, name: str, params: DetectParams) -> BoxContract:
    """What a detector's numbers mean.

    Args:
        detector: knows the px a side of its squares.
        name: yolo or detr.
        params: section `detect`.
    """
    return BoxContract(
        name=name,
        size=detector.size,
        classes=CLASSES,
        resize="letterbox",
        # YOLO gives a box for every anchor; a DETR has learnt to give each object one
        suppress=params.yolo.suppress_iou if name == "yolo" else None,
        floor=params.min_score,
        max_batch=params.max_batch,
        graphs=params.graphs,
    )


def check_parity(
    detector: Any, folder: Path, squares: NDArray[np.uint8], params: DetectParams
) -> dict[str, dict[str, float]]:
    """Compare both engines with torch on real pictures.

    Args:
        detector: in evaluation mode.
        folder: holds the export.
        squares: uint8 (n, size, size, 3).
        params: section `detect`: the largest distance of a corner, as a share of the square, and difference of a score
            that are allowed, and the engines' threads.

    Returns:
        The largest gaps of each engine.

    Raises:
        DetectorParityError: a gap is too large.
    """
    import torch

    with torch.inference_mode():
        corners, scores = (part.numpy() for part in detector(torch.from_numpy(squares)))
    found = {}
    for kind in ("openvino", "onnxruntime"):
        network = BoxNetwork(folder / MODEL_FILE, kind, params.threads)
        found[kind] = _gap((corners, scores), network.run(squares), params.parity_score)
        if found[kind]["corner"] > params.max_corner_gap or found[kind]["score"] > params.max_score_gap:
            raise DetectorParityError(
                f"{folder.name} in {kind} differs from torch: {found[kind]}; detect.max_corner_gap allows "
                f"{params.max_corner_gap} and detect.max_score_gap {params.max_score_gap}. The previous detectors stay"
            )
    return found


def _gap(reference: Arrays, answer: Arrays, counts: float) -> dict[str, float]:
    """Largest difference of a corner and of a score, over the boxes of either side that score `counts` or more.

    Each is held against the nearest box of the other side: a DETR picks its queries by rank, so two of nearly equal
    rank may change places between libraries.
    """
    sides = ((reference, answer), (answer, reference))
    gaps = [_nearest(*pair) for here, there in sides for pair in _pictures(here, there, counts)]
    both = np.concatenate([np.zeros((1, 2)), *gaps]).max(axis=0)
    return {"corner": round(float(both[0]), 6), "score": round(float(both[1]), 6)}


def _pictures(here: Arrays, there: Arrays, counts: float) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Rows of corners and scores of the boxes that count, and all rows of the other side, (boxes, 4 + classes) each."""
    mine, others = (np.concatenate(side, axis=2) for side in (here, there))
    return [(rows[rows[:, 4:].max(axis=1) >= counts], other) for rows, other in zip(mine, others, strict=True)]


def _nearest(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gap of corners and of scores of n rows to the nearest of the others, (n, 2)."""
    found = []
    for row in rows:
        apart = np.abs(others - row)
        best = apart[apart.max(axis=1).argmin()]
        found.append([best[:4].max(), best[4:].max()])
    return np.array(found, dtype=np.float64).reshape(-1, 2)
