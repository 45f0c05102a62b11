"""From an ONNX graph in FP32 to one in FP16, and what of it really is FP16.

TensorRT 11 knows no precision but the graph's own, and TensorRT 10 is built the same way here, strongly typed. ModelOpt
AutoCast does the casting where it is installed (the extra `gpu`), ONNX Runtime's converter elsewhere.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Set
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Converter = Literal["autocast", "onnxruntime"]
# these give numbers but compute none
NO_WORK = {"Cast", "Identity", "Constant", "ConstantOfShape", "Range", "Shape", "CastLike"}


@dataclass(frozen=True)
class Share:
    """How much of a graph is FP16.

    Attributes:
        operations: of those with a floating-point result.
        weights: of all floating-point weights, by number.
    """

    operations: float
    weights: float


def has_autocast() -> bool:
    """Tell whether ModelOpt's converter can be imported."""
    return importlib.util.find_spec("modelopt") is not None


def prepare(model: Any) -> Any:
    """Give a copy that both converters and TensorRT take.

    Every node gets a name; constants become initializers, so that those of FP32 nodes stay exact; pixels become
    floating-point first thing, since TensorRT moves bytes about in no other layer.

    Args:
        model: an onnx.ModelProto in FP32.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    nodes = [node for node in graph.node if not _constant(graph, node)]
    for image in graph.input:
        if image.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
            nodes = _cast_first(image.name, nodes)
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}" if not node.name else node.name
    del graph.node[:]
    graph.node.extend(nodes)
    # inferred types speak of the pixels as bytes
    del graph.value_info[:]
    return copy


def _constant(graph: Any, node: Any) -> bool:
    """Move a Constant node's value among the weights; False for other nodes."""
    if node.op_type != "Constant" or node.attribute[0].name != "value":
        return False
    weight = graph.initializer.add()
    weight.CopyFrom(node.attribute[0].t)
    weight.name = node.output[0]
    return True


def _cast_first(name: str, nodes: list[Any]) -> list[Any]:
    import onnx

    if all(node.op_type == "Cast" for node in nodes if name in node.input):
        return nodes
    real = f"{name}_real"
    for node in nodes:
        node.input[:] = [real if item == name else item for item in node.input]
    cast = onnx.helper.make_node("Cast", [name], [real], name=f"{name}_to_real", to=onnx.TensorProto.FLOAT)
    return [cast, *nodes]


def to_half(model: Any, keep: Set[str], picture: NDArray[np.uint8], converter: Converter) -> Any:
    """Convert a prepared graph; its inputs and outputs keep their types.

    Args:
        model: from `prepare`.
        keep: names of the nodes that stay FP32.
        picture: (1, size, size, 3), a real one: AutoCast measures ranges on it.
        converter: which one.
    """
    return _autocast(model, keep, picture) if converter == "autocast" else _onnxruntime(model, keep)


def _onnxruntime(model: Any, keep: Set[str]) -> Any:
    import onnx
    from onnxruntime.transformers import float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half = float16.convert_float_to_float16(copy, keep_io_types=True, node_block_list=sorted(keep))
    _join(half.graph)
    _sort(half.graph)
    return half


def _join(graph: Any) -> None:
    """Let neighbours that both stay FP32 hand over FP32.

    The converter rounds every tensor between them to FP16 and back: a part that was kept for its precision has none.
    """
    import onnx

    # the marks of the converter's own casts; those of the model are its business
    down = {node.output[0]: node.input[0] for node in graph.node if node.name.endswith("_cast_to_fp16_node")}
    up = {
        node.output[0]: down[node.input[0]]
        for node in graph.node
        if node.name.endswith("_cast_to_fp32_node") and node.input[0] in down
    }
    for node in graph.node:
        node.input[:] = [up.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | {item.name for item in graph.output}
    nodes = [node for node in graph.node if node.op_type != "Cast" or node.output[0] in used]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _sort(graph: Any) -> None:
    """Put every node behind those that it needs: the converter leaves its casts at the end."""
    import onnx

    made_by = {name: place for place, node in enumerate(graph.node) for name in node.output}
    needs = {place: {made_by[name] for name in node.input if name in made_by} for place, node in enumerate(graph.node)}
    order = list(TopologicalSorter(needs).static_order())
    nodes = [onnx.NodeProto.FromString(graph.node[place].SerializeToString()) for place in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _autocast(model: Any, keep: Set[str], picture: NDArray[np.uint8]) -> Any:
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    with tempfile.TemporaryDirectory() as folder:
        source, data = Path(folder) / "model.onnx", Path(folder) / "data.npz"
        onnx.save(model, source)
        named: dict[str, Any] = {model.graph.input[0].name: picture}
        np.savez(data, **named)
        return convert_to_mixed_precision(
            onnx_path=str(source),
            low_precision_type="fp16",
            # it reads patterns
            nodes_to_exclude=[f"^{re.escape(name)}$" for name in sorted(keep)],
            # its own rule keeps whatever exceeds this in FP32, far below what FP16 can hold
            data_max=SAFE_RANGE,
            keep_io_types=True,
            calibration_data=str(data),
        )


# an eighth of FP16's largest number: other pictures may reach further than those measured
SAFE_RANGE = 65504.0 / 8


def share_of(model: Any) -> Share:
    """Count what of a graph is FP16, by the types that ONNX infers and not by what the file is called."""
    import onnx

    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    kinds = types_of(model)
    results = [kinds.get(node.output[0]) for node in model.graph.node if node.op_type not in NO_WORK]
    operations = [kind == half for kind in results if kind in (half, full)]
    sizes = [(item.data_type, int(np.prod(item.dims))) for item in model.graph.initializer]
    weights = {kind: sum(size for item, size in sizes if item == kind) for kind in (half, full)}
    return Share(
        round(sum(operations) / max(1, len(operations)), 4), round(weights[half] / max(1, sum(weights.values())), 4)
    )


def types_of(model: Any) -> dict[str, int]:
    """Element type of every tensor whose type can be inferred."""
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
    kinds, nodes = types_of(model), []
    for node in copy.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            _widen(attribute.t)
        if node.op_type not in MOVES:
            nodes += [cast for place, name in enumerate(node.output) if kinds.get(name) == half
                      for cast in _round(node, place)]  # fmt: skip
    for weight in copy.graph.initializer:
        _widen(weight)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    del copy.graph.value_info[:]
    return copy


# they change no number
MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Concat", "Gather", "Split", "Flatten", "Expand",
         "Identity", "GatherElements", "GatherND", "Tile"}  # fmt: skip


def _widen(tensor: Any) -> None:
    """Turn an FP16 tensor into FP32, in place."""
    import onnx

    if tensor.data_type == onnx.TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _round(node: Any, place: int) -> list[Any]:
    """Send an output through FP16."""
    import onnx

    name, kinds = node.output[place], onnx.TensorProto
    raw = f"{name} unrounded"
    node.output[place] = raw
    up = onnx.helper.make_node("Cast", [f"{name} half"], [name], name=f"{name} up", to=kinds.FLOAT)
    down = onnx.helper.make_node("Cast", [raw], [f"{name} half"], name=f"{name} down", to=kinds.FLOAT16)
    return [down, up]
