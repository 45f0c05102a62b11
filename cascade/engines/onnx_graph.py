"""An ONNX file as torch runs it: nodes in their order, with weights and attributes as tensors on the processor.

Torch and ONNX are imported when a file is read. The sessions of torch walk these nodes: one by one on a processor
(`torch.py`), or once a batch size into a CUDA graph (`torch_cuda.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.engines.base import EngineError, ModelInput


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: ONNX' name of the operator, or one of `fused.py`.
        inputs: names of values; empty for an optional one that is left out.
        outputs: names of values.
        attributes: a constant's tensor is one of them.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """A model.

    Attributes:
        input: the only one.
        outputs: names.
        nodes: each behind those that it needs.
        weights: tensors by name, on the processor.
    """

    input: ModelInput
    outputs: tuple[str, ...]
    nodes: list[Node]
    weights: dict[str, Any]

    def uses(self) -> Counter[str]:
        """How often each value is needed, by nodes or as an output."""
        return Counter([name for node in self.nodes for name in node.inputs] + list(self.outputs))


def read_graph(model: Path, known: Collection[str]) -> Graph:
    """Read an ONNX file.

    Args:
        model: the file.
        known: operators that can be run.

    Raises:
        EngineError: it cannot be read, has more than one input, or an operator that is not known.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    try:
        graph = onnx.load(model).graph
        weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
        nodes = [Node(node.op_type, tuple(node.input), tuple(node.output), _attributes(node)) for node in graph.node]
    # protobuf's and onnx' exceptions share no base class but this
    except Exception as error:
        raise EngineError(f"{model}: torch cannot load it: {error}") from None
    if unknown := sorted({node.op for node in nodes} - set(known)):
        raise EngineError(f"{model}: torch cannot load it: operator {', '.join(unknown)} is not supported")
    return Graph(_input(model, graph), tuple(output.name for output in graph.output), nodes, weights)


def last_uses(nodes: Iterable[Node], outputs: Collection[str]) -> dict[int, list[str]]:
    """Names of the intermediate values that no node after the given one needs: they would fill the memory."""
    listed = list(nodes)
    made = {name for node in listed for name in node.outputs} - set(outputs)
    last = {name: number for number, node in enumerate(listed) for name in (*node.outputs, *node.inputs)}
    ends: dict[int, list[str]] = {}
    for name in made & set(last):
        ends.setdefault(last[name], []).append(name)
    return ends


def _attributes(node: Any) -> dict[str, Any]:
    import torch
    from onnx import helper, numpy_helper

    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if hasattr(value, "raw_data"):
            value = torch.from_numpy(numpy_helper.to_array(value).copy())
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _input(model: Path, graph: Any) -> ModelInput:
    from onnx import TensorProto

    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    if len(inputs) != 1:
        raise EngineError(f"{model}: takes {[one.name for one in inputs]}; expected one input")
    kind = inputs[0].type.tensor_type
    dtype = {TensorProto.FLOAT: "float32"}.get(kind.elem_type, TensorProto.DataType.Name(kind.elem_type).lower())
    return ModelInput(inputs[0].name, dtype, tuple(axis.dim_value or None for axis in kind.shape.dim))
