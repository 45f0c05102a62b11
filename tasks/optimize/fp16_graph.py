"""What of an ONNX graph is FP16, and the same graph in FP32 that rounds where the FP16 graph rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# these give numbers but compute none
NO_WORK = {"Cast", "Identity", "Constant", "ConstantOfShape", "Range", "Shape", "CastLike"}
# these change no number
MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Concat", "Gather", "Split", "Flatten", "Expand",
         "Identity", "GatherElements", "GatherND", "Tile"}  # fmt: skip


@dataclass(frozen=True)
class Share:
    """How much of a graph is FP16, 0 to 1.

    Attributes:
        operations: of those with a floating-point output.
        weights: of all floating-point weights, by number.
    """

    operations: float
    weights: float


def share_of(model: Any) -> Share:
    """Count what of a graph is FP16, by the types that ONNX infers and not by what the file is called."""
    import onnx

    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    types = types_of(model)
    outputs = [types.get(node.output[0]) for node in model.graph.node if node.op_type not in NO_WORK]
    operations = [kind == half for kind in outputs if kind in (half, full)]
    sizes = [(item.data_type, int(np.prod(item.dims))) for item in model.graph.initializer]
    weights = {kind: sum(size for item, size in sizes if item == kind) for kind in (half, full)}
    return Share(
        round(sum(operations) / max(1, len(operations)), 4), round(weights[half] / max(1, sum(weights.values())), 4)
    )


def types_of(model: Any) -> dict[str, int]:
    """Give the element type of every tensor whose type can be inferred, by name."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {item.name: item.type.tensor_type.elem_type for item in values}


def rounded(model: Any) -> Any:
    """Give an FP32 graph that rounds to FP16 after every operation which the FP16 graph does in FP16.

    ONNX Runtime has few FP16 kernels for processors: it computes in FP32 and drops the casts that it put in, so that an
    FP16 graph neither rounds nor overflows there, even with all optimizations off. Casts of the graph itself stay.
    Sums inside an operation are FP32, as on tensor cores.
    """
    import onnx

    half = onnx.TensorProto.FLOAT16
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    types, nodes = types_of(model), []
    for node in copy.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            _widen(attribute.t)
        if node.op_type not in MOVES:
            nodes += [cast for place, name in enumerate(node.output) if types.get(name) == half
                      for cast in _round(node, place)]  # fmt: skip
    for weight in copy.graph.initializer:
        _widen(weight)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]
    return copy


def _widen(tensor: Any) -> None:
    """Turn an FP16 tensor into FP32, in place."""
    import onnx

    if tensor.data_type == onnx.TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _round(node: Any, place: int) -> list[Any]:
    """Give the two casts that send an output through FP16; the output itself is renamed in place."""
    import onnx

    name, types = node.output[place], onnx.TensorProto
    raw = f"{name} unrounded"
    node.output[place] = raw
    up = onnx.helper.make_node("Cast", [f"{name} half"], [name], name=f"{name} up", to=types.FLOAT)
    down = onnx.helper.make_node("Cast", [raw], [f"{name} half"], name=f"{name} down", to=types.FLOAT16)
    return [down, up]
