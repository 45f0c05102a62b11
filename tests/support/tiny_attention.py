"""A tiny network of attention, normalisation and a head in ONNX, and ways to make FP16 hurt it, for tests of FP16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIZE, WIDTH = 8, 16
CONTRACT = {
    "input": {"dtype": "uint8", "shape": [None, SIZE, SIZE, 3]},
    "output": {"name": "logit", "shape": [None]},
    "max_batch": 4,
}


def pictures(n: int = 6) -> np.ndarray:
    """Noise, (n, SIZE, SIZE, 3)."""
    return np.random.default_rng(7).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


def graph(*, shift: float = 0.0, peak: float = 1.0) -> Any:
    """Give an onnx.ModelProto: bytes turned around before they are cast, as torch exports them.

    Args:
        shift: of the attention's scores, which softmax takes away again: at 3000 FP16 has steps of 2.
        peak: an activation is multiplied by it and divided again: at 6e4 FP16 overflows.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(3)

    def random(*shape: int) -> np.ndarray:
        return (draw.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    query = random(SIZE * SIZE, WIDTH)
    weights = {
        "scale": np.array(1 / 255, dtype=np.float32),
        "flat": np.array([0, 3, SIZE * SIZE], dtype=np.int64),
        "query": query,
        "shift": np.array(shift, dtype=np.float32),
        "key": random(SIZE * SIZE, WIDTH),
        "value": random(SIZE * SIZE, WIDTH),
        "peak": np.array(peak, dtype=np.float32),
        "ones": np.ones(WIDTH, dtype=np.float32),
        "head": random(3 * WIDTH, 1) * 4,
        "last": np.array([1], dtype=np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["image"], ["planes"], name="turn", perm=[0, 3, 1, 2]),
        node("Cast", ["planes"], ["real"], name="cast", to=TensorProto.FLOAT),
        node("Mul", ["real", "scale"], ["unit"], name="unit"),
        node("Reshape", ["unit", "flat"], ["tokens"], name="tokens"),
        node("MatMul", ["tokens", "query"], ["q"], name="q"),
        node("MatMul", ["tokens", "key"], ["k"], name="k"),
        node("MatMul", ["tokens", "value"], ["v"], name="v"),
        node("Transpose", ["k"], ["kt"], name="kt", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["product"], name="product"),
        node("Add", ["product", "shift"], ["scores"], name="shifted"),
        node("Softmax", ["scores"], ["attention"], name="softmax", axis=-1),
        node("MatMul", ["attention", "v"], ["mixed"], name="mixed"),
        node("Mul", ["mixed", "peak"], ["high"], name="high"),
        node("Add", ["high", "high"], ["twice"], name="twice"),
        node("Div", ["twice", "peak"], ["back"], name="back"),
        node("LayerNormalization", ["back", "ones"], ["normal"], name="norm", axis=-1),
        node("Flatten", ["normal"], ["features"], name="features"),
        node("MatMul", ["features", "head"], ["column"], name="head"),
        node("Squeeze", ["column", "last"], ["logit"], name="squeeze"),
    ]
    made = helper.make_graph(
        nodes,
        "tiny_attention",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write(folder: Path, **options: float) -> Path:
    """Write classifier.onnx and contract.json as the export stage does; gives the ONNX file."""
    import json

    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(graph(**options), folder / "classifier.onnx")
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    return folder / "classifier.onnx"
