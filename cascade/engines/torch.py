"""Torch as an engine: the operators of the ONNX file that the other engines load too, one after the other, in fp32.

It is slower than the others, and it is there wherever training was. It needs no second file, no pickle, and no code
from outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, ModelInput, Precision
from cascade.extras import MissingExtraError, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TorchSession:
    """See `Session`: the graph is walked at every call; calls share nothing but constants.

    Args:
        model: ONNX, in fp32.
        threads: processor threads of torch, for the whole process.

    Raises:
        EngineError: the file cannot be loaded, has more than one input, or an operator that is not in `operators.py`.
    """

    kind: Kind = "torch"
    device: Device = "cpu"
    precision: Precision = "fp32"
    int8_share: float | None = None
    batches: tuple[int, int] | None = None

    def __init__(self, model: Path, threads: int) -> None:
        try:
            require("export.engine torch", "torch", "onnx")
        except MissingExtraError as error:
            raise EngineError(str(error)) from None
        import torch

        from cascade.engines.operators import OPERATORS

        torch.set_num_threads(threads)
        graph, self._weights = _load(model)
        if unknown := sorted({node.op_type for node in graph.node} - set(OPERATORS)):
            raise EngineError(f"{model}: torch cannot load it: operator {', '.join(unknown)} is not supported")
        self.file, self.input = model, _input(model, graph)
        self.outputs = tuple(output.name for output in graph.output)
        # attributes are decoded once; a constant's tensor is an attribute
        self._steps = [
            (OPERATORS[node.op_type], list(node.input), list(node.output), _attributes(node)) for node in graph.node
        ]
        self._last = _last_uses(graph)

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        import numpy as np
        import torch

        self.input.check(batch, self.file)
        values: dict[str, Any] = {**self._weights, self.input.name: torch.from_numpy(np.ascontiguousarray(batch))}
        try:
            with torch.inference_mode():
                for number in range(len(self._steps)):
                    self._step(number, values)
        except (RuntimeError, TypeError, KeyError, IndexError) as error:
            raise EngineError(f"{self.file}: torch failed: {error}") from None
        return {name: values[name].numpy() for name in self.outputs}

    def _step(self, number: int, values: dict[str, Any]) -> None:
        """Run one node on the values known so far, add its outputs, and drop what no later node needs."""
        operator, inputs, outputs, attributes = self._steps[number]
        found = operator(*(values[name] if name else None for name in inputs), **attributes)
        values.update(zip(outputs, found if isinstance(found, tuple) else (found,), strict=False))
        for name in self._last.get(number, ()):
            del values[name]

    def close(self) -> None:
        """See `Session.close`."""
        self._weights.clear()
        self._steps.clear()


def _load(model: Path) -> tuple[Any, dict[str, Any]]:
    """Read a graph and its weights as tensors."""
    import onnx
    import torch
    from onnx import numpy_helper

    try:
        graph = onnx.load(model).graph
        return graph, {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    # protobuf's and onnx' exceptions share no base class but this
    except Exception as error:
        raise EngineError(f"{model}: torch cannot load it: {error}") from None


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


def _last_uses(graph: Any) -> dict[int, list[str]]:
    """Names of the intermediate values that no node after the given one needs: they would fill the memory."""
    made = {name for node in graph.node for name in node.output} - {output.name for output in graph.output}
    last = {name: number for number, node in enumerate(graph.node) for name in [*node.output, *node.input]}
    ends: dict[int, list[str]] = {}
    for name in made & set(last):
        ends.setdefault(last[name], []).append(name)
    return ends


def _input(model: Path, graph: Any) -> ModelInput:
    from onnx import TensorProto

    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    if len(inputs) != 1:
        raise EngineError(f"{model}: takes {[one.name for one in inputs]}; expected one input")
    kind = inputs[0].type.tensor_type
    dtype = {TensorProto.FLOAT: "float32"}.get(kind.elem_type, TensorProto.DataType.Name(kind.elem_type).lower())
    return ModelInput(inputs[0].name, dtype, tuple(axis.dim_value or None for axis in kind.shape.dim))
