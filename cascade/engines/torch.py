"""Torch as an engine: the operators of the very ONNX file that the other engines load, one after the other, in fp32.

Slower than the others and always there where training was: no second artefact, no pickle, no code from outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Contract, EngineError, Precision
from cascade.extras import MissingExtraError, require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TorchEngine:
    """A graph that is walked at every call; nothing is shared between calls but constants."""

    name = "torch"
    precision: Precision = "fp32"

    def __init__(self, model: Path, contract: Contract, threads: int) -> None:
        try:
            require("export.engine torch", "torch", "onnx")
        except MissingExtraError as error:
            raise EngineError(str(error)) from None
        import onnx
        import torch
        from onnx import numpy_helper

        from cascade.engines.operators import OPERATORS

        torch.set_num_threads(threads)
        try:
            graph = onnx.load(model).graph
            weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
        # protobuf's and onnx' exceptions share no base class but this
        except Exception as error:
            raise EngineError(f"{model}: torch cannot load it: {error}") from None
        if unknown := sorted({node.op_type for node in graph.node} - set(OPERATORS)):
            raise EngineError(f"{model}: torch cannot load it: operator {', '.join(unknown)} is not supported")
        self.contract = contract
        self._input = _check(graph, contract)
        self._weights = weights
        # attributes are decoded once; a constant's tensor is an attribute
        self._steps = [
            (OPERATORS[node.op_type], list(node.input), list(node.output), _attributes(node)) for node in graph.node
        ]
        self._last = _last_uses(graph)

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        import numpy as np
        import torch

        self.contract.check_input(batch)
        seen: dict[str, Any] = {**self._weights, self._input: torch.from_numpy(np.ascontiguousarray(batch))}
        try:
            with torch.inference_mode():
                for number, (operator, inputs, outputs, attributes) in enumerate(self._steps):
                    found = operator(*(seen[name] if name else None for name in inputs), **attributes)
                    seen.update(zip(outputs, found if isinstance(found, tuple) else (found,), strict=False))
                    for name in self._last.get(number, ()):
                        del seen[name]
        except (RuntimeError, TypeError, KeyError, IndexError) as error:
            raise EngineError(f"torch failed: {error}") from None
        return self.contract.check_output(seen[self.contract.output.name].numpy(), len(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        self._weights.clear()
        self._steps.clear()


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
    """Which intermediate values are not needed any more after which step: they would fill the memory."""
    made = {name for node in graph.node for name in node.output} - {output.name for output in graph.output}
    last = {name: number for number, node in enumerate(graph.node) for name in [*node.output, *node.input]}
    ends: dict[int, list[str]] = {}
    for name in made & set(last):
        ends.setdefault(last[name], []).append(name)
    return ends


def _check(graph: Any, contract: Contract) -> str:
    from onnx import TensorProto

    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    if len(inputs) != 1:
        raise EngineError(f"expected a model of one input, got {len(inputs)}")
    kind = inputs[0].type.tensor_type
    dtype = TensorProto.DataType.Name(kind.elem_type).lower()
    shape = tuple(axis.dim_value or None for axis in kind.shape.dim)
    contract.check_model(dtype, shape, [output.name for output in graph.output])
    return str(inputs[0].name)
