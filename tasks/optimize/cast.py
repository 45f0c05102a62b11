"""From an ONNX graph in FP32 to one in FP16.

TensorRT 11 knows no precision but the graph's own, and TensorRT 10 is built the same way here, strongly typed. ModelOpt
AutoCast converts where it is installed (the extra `gpu`), ONNX Runtime's converter elsewhere.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Set
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Converter = Literal["autocast", "onnxruntime"]
LARGEST_FP16 = 65504.0


def has_autocast() -> bool:
    """Tell whether ModelOpt's converter can be imported."""
    return importlib.util.find_spec("modelopt") is not None


def prepare(model: Any) -> Any:
    """Give a copy that both converters and TensorRT accept.

    Every node gets a name; constants become initializers, so that those of FP32 nodes stay exact; the pixels are cast
    to floating-point before anything else, since TensorRT moves bytes in no other layer.

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
    # types inferred before still say that the pixels are bytes
    del graph.value_info[:]
    return copy


def _constant(graph: Any, node: Any) -> bool:
    """Move a Constant node's value to the initializers; False for other nodes."""
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


def to_half(
    model: Any,
    exclude: Set[str],
    image: NDArray[np.uint8],
    converter: Converter,
    *,
    largest: float = LARGEST_FP16 / 8,
) -> Any:
    """Convert a prepared graph to FP16; its inputs and outputs keep their types.

    Args:
        model: from `prepare`.
        exclude: names of the nodes that stay FP32.
        image: uint8 RGB (1, size, size, 3), a real one: AutoCast measures ranges on it.
        converter: which one.
        largest: AutoCast keeps nodes in FP32 whose values exceed it; its own default is far below what FP16 can hold.
    """
    return _autocast(model, exclude, image, largest) if converter == "autocast" else _onnxruntime(model, exclude)


def _onnxruntime(model: Any, exclude: Set[str]) -> Any:
    import onnx
    from onnxruntime.transformers import float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half = float16.convert_float_to_float16(copy, keep_io_types=True, node_block_list=sorted(exclude))
    _drop_casts_between_fp32(half.graph)
    _sort(half.graph)
    return half


def _drop_casts_between_fp32(graph: Any) -> None:
    """Connect neighbours that both stay FP32 directly.

    The converter rounds every tensor between them to FP16 and back, which undoes what they were excluded for.
    """
    import onnx

    # the names of the converter's own casts; those of the model stay
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
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(rest)


def _sort(graph: Any) -> None:
    """Put every node behind those that it needs: the converter leaves its casts at the end."""
    import onnx

    made_by = {name: place for place, node in enumerate(graph.node) for name in node.output}
    needs = {place: {made_by[name] for name in node.input if name in made_by} for place, node in enumerate(graph.node)}
    order = list(TopologicalSorter(needs).static_order())
    nodes = [onnx.NodeProto.FromString(graph.node[place].SerializeToString()) for place in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _autocast(model: Any, exclude: Set[str], image: NDArray[np.uint8], largest: float) -> Any:
    import onnx
    from modelopt.onnx.autocast import convert_to_mixed_precision

    with tempfile.TemporaryDirectory() as folder:
        source, data = Path(folder) / "model.onnx", Path(folder) / "data.npz"
        onnx.save(model, source)
        named: dict[str, Any] = {model.graph.input[0].name: image}
        np.savez(data, **named)
        return convert_to_mixed_precision(
            onnx_path=str(source),
            low_precision_type="fp16",
            # it takes regular expressions
            nodes_to_exclude=[f"^{re.escape(name)}$" for name in sorted(exclude)],
            data_max=largest,
            keep_io_types=True,
            calibration_data=str(data),
        )
