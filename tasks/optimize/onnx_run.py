"""Run an ONNX graph node by node as it is written, and measure how far its tensors reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.optimize.fp16_graph import types_of

Arrays = dict[str, NDArray[np.floating[Any]]]


class GraphError(ValueError):
    """ONNX Runtime cannot load a graph."""


def open_graph(model: Any) -> Callable[[NDArray[np.uint8]], Arrays]:
    """Load a graph in ONNX Runtime with all optimizations off.

    Args:
        model: an onnx.ModelProto of one input.

    Returns:
        A function from a batch to the outputs by name.

    Raises:
        GraphError: it cannot be loaded: a converter made types that do not fit.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        loaded = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    # its exceptions share no base class but this
    except Exception as error:
        raise GraphError(f"the graph does not load: {str(error).splitlines()[0]}") from None
    names, image = [item.name for item in loaded.get_outputs()], loaded.get_inputs()[0].name

    def run(batch: NDArray[np.uint8]) -> Arrays:
        return dict(zip(names, loaded.run(names, {image: batch}), strict=True))

    return run


def nodes_beyond(model: Any, images: NDArray[np.uint8], limit: float) -> set[str]:
    """Find what exceeds a limit: names of the nodes that make or take such a tensor or weight.

    Args:
        model: an onnx.ModelProto in FP32 whose nodes all have names.
        images: uint8 RGB (n, size, size, 3), real ones.
        limit: largest magnitude allowed.
    """
    import onnx

    types = types_of(model)
    real = [name for node in model.graph.node for name in node.output if types.get(name) == onnx.TensorProto.FLOAT]
    run, large = open_graph(_with_outputs(model, real)), _large_weights(model, limit)
    for image in images:
        # one by one: all tensors of the network are in memory at once
        found = run(image[None])
        large |= {name for name in real if found[name].size and _reach(found[name]) > limit}
    return {node.name for node in model.graph.node if large & {*node.output, *node.input}}


def _with_outputs(model: Any, names: list[str]) -> Any:
    """Give a copy whose outputs are all the named tensors."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {item.name for item in copy.graph.output}
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    return copy


def _large_weights(model: Any, limit: float) -> set[str]:
    import onnx

    real = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    return {item.name for item in real if _reach(onnx.numpy_helper.to_array(item)) > limit}


def _reach(values: NDArray[Any]) -> float:
    """Largest finite magnitude; masks are infinite on purpose, and FP16 has infinity too."""
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0.0))
