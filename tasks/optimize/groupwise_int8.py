"""Int8 weights with one scale for each group of input channels; activations are quantized at run time.

DINOv2 has a few channels with very large activations. One range for all of a layer's activations, fixed in advance,
leaves few levels for the other channels; OpenVINO's dynamic quantization takes a range for each token and group of
channels instead, and needs no images to measure ranges on. The graph stays ONNX: bytes, Cast, Mul by the scales,
Reshape, a pattern that OpenVINO computes on bytes where the processor can, and that ONNX Runtime folds into floats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.engines.openvino import GROUP
from tasks.common.files import write_bytes
from tasks.optimize.int8 import QuantizationError, one_error

# of int8, symmetric about zero
LARGEST = 127


def compress(model: Path, target: Path, exclude: Sequence[str]) -> None:
    """Store the weights of an ONNX model's matrix products in int8.

    Args:
        model: fp32.
        target: where the int8 ONNX goes, in one step.
        exclude: regular expressions; nodes whose whole name matches one are not quantized.

    Raises:
        QuantizationError: the model is broken, or nothing in it was quantized.
        OSError: no space is left; `target` stays as it was.
    """
    import onnx

    with one_error(model):
        network = onnx.load(model)
        onnx.checker.check_model(network)
    if not _compress(network.graph, exclude):
        raise QuantizationError(f"{model}: nothing was quantized; export.int8.exclude may cover every node")
    write_bytes(target, network.SerializeToString(deterministic=True))


def _compress(graph: Any, exclude: Sequence[str]) -> int:
    """Replace weights in place; gives how many."""
    from onnx import numpy_helper

    stored = {one.name: one for one in graph.initializer}
    nodes, count = list(graph.node), 0
    for node in nodes:
        excluded = any(re.fullmatch(one, node.name) for one in exclude)
        weight = stored.get(node.input[1]) if node.op_type == "MatMul" and not excluded else None
        if weight is None or len(weight.dims) != 2:
            continue
        array = numpy_helper.to_array(weight)
        graph.initializer.remove(stored.pop(weight.name))
        made = _nodes(graph, weight.name, array)
        # before their product: an ONNX graph lists nodes in the order of computation
        at = list(graph.node).index(node)
        for offset, one in enumerate(made):
            graph.node.insert(at + offset, one)
        count += 1
    return count


def _nodes(graph: Any, name: str, weight: NDArray[np.float32]) -> list[Any]:
    """Store a weight (in, out) as bytes and scales; gives the nodes that compute `name` from them."""
    from onnx import TensorProto, helper, numpy_helper

    levels, scale = quantized(weight, GROUP)
    parts = {"levels": levels, "scale": scale, "shape": np.array(weight.shape[::-1], dtype=np.int64)}
    for suffix, array in parts.items():
        graph.initializer.append(numpy_helper.from_array(array, f"{name}/{suffix}"))
    steps = [
        ("Cast", [f"{name}/levels"], f"{name}/cast", {"to": TensorProto.FLOAT}),
        ("Mul", [f"{name}/cast", f"{name}/scale"], f"{name}/scaled", {}),
        ("Reshape", [f"{name}/scaled", f"{name}/shape"], f"{name}/rows", {}),
        ("Transpose", [f"{name}/rows"], name, {"perm": [1, 0]}),
    ]
    return [helper.make_node(kind, given, [made], name=made, **more) for kind, given, made, more in steps]


def quantized(weight: NDArray[np.float32], group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a weight to int8, symmetric about zero.

    Args:
        weight: (in, out).
        group: input channels that share a scale; where it does not divide their number, all share one.

    Returns:
        Levels int8 (out, groups, group) and scales (out, groups, 1); their product is the weight, transposed.
    """
    rows = weight.T
    size = group if rows.shape[1] % group == 0 else rows.shape[1]
    blocks = rows.reshape(len(rows), -1, size)
    scale = np.abs(blocks).max(axis=2, keepdims=True) / LARGEST
    scale[scale == 0] = 1
    return np.round(blocks / scale).clip(-LARGEST, LARGEST).astype(np.int8), scale.astype(np.float32)
