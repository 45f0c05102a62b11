"""A real but tiny detector in ONNX, for tests of the runtime: it finds an object wherever an anchor's pixel is red.

Each of its anchors is a box with a class; the box's score is how red the pixel at its centre is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cascade.detection.boxes import CLASSES

SIZE = 64
Anchor = tuple[str, tuple[int, int, int, int]]
# three cones in a row and a barrier, in pixels of the square
ANCHORS: tuple[Anchor, ...] = (
    ("cone", (4, 20, 14, 34)),
    ("cone", (20, 20, 30, 34)),
    ("cone", (36, 20, 46, 34)),
    ("barrier", (10, 44, 54, 56)),
)
RULE = {"matches": 3, "iou": 0.5, "clear_below": 0.3, "seen": [0.5, 0.5], "suspected": [0.25, 0.25]}
# what EVIDENCE holds first is the best pair's score: the probability follows it alone
ESTIMATE = {"weights": [8.0, 0, 0, 0, 0, 0, 0, 0], "bias": -4.0}
SETTINGS = {
    "detectors": ["yolo", "detr"],
    "rule": RULE,
    "estimate": ESTIMATE,
    "engine": "onnxruntime",
    "threads": 1,
}


def write_detector(
    folder: Path, name: str, *, anchors: Sequence[Anchor] = ANCHORS, gain: float = 1.0, **contract: Any
) -> Path:
    """Write a detector folder as the detect stage does; `contract` can break its promises."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    pixels = [(y1 + y2) // 2 * SIZE + (x1 + x2) // 2 for _, (x1, y1, x2, y2) in anchors]
    kinds = np.array([[float(name == category) for name in CLASSES] for category, _ in anchors], dtype=np.float32)
    corners = np.array([box for _, box in anchors], dtype=np.float32)[None] / SIZE
    tensors = {
        "flat_shape": np.array([0, SIZE * SIZE, 3], dtype=np.int64),
        "where": np.array(pixels, dtype=np.int64),
        "red": np.array([[gain], [-gain / 2], [-gain / 2]], dtype=np.float32) / 255,
        "kinds": kinds[None],
        "fixed": corners,
        "zero": np.array(0, dtype=np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["real", "flat_shape"], ["flat"]),
            helper.make_node("Gather", ["flat", "where"], ["centres"], axis=1),
            helper.make_node("MatMul", ["centres", "red"], ["redness"]),
            helper.make_node("Mul", ["redness", "kinds"], ["scores"]),
            helper.make_node("Mul", ["redness", "zero"], ["none"]),
            helper.make_node("Add", ["none", "fixed"], ["corners"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("corners", TensorProto.FLOAT, ["batch", len(anchors), 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(anchors), len(CLASSES)]),
        ],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "detector.onnx")
    promised = {
        "name": name,
        "size": SIZE,
        "classes": CLASSES,
        "resize": "letterbox",
        "suppress": 0.6,
        "floor": 0.02,
        "max_batch": 2,
        **contract,
    }
    (folder / "contract.json").write_text(json.dumps(promised))
    return folder


def write_detectors(folder: Path, **settings: Any) -> Path:
    """Write models/detectors: two tiny detectors and detectors.json."""
    write_detector(folder / "yolo", "yolo")
    write_detector(folder / "detr", "detr", suppress=None)
    (folder / "detectors.json").write_text(json.dumps({**SETTINGS, **settings}))
    return folder


def street_with(count: int, *, scale: int = 1) -> Image.Image:
    """Draw a grey street with the first `count` of ANCHORS painted red."""
    image = Image.new("RGB", (SIZE * scale, SIZE * scale), (90, 90, 90))
    draw = ImageDraw.Draw(image)
    for _, box in ANCHORS[:count]:
        draw.rectangle([value * scale for value in box], fill=(255, 0, 0))
    return image
