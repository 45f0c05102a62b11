"""The steps of a graph for one batch size, with nothing left to decide: what a CUDA graph can be captured from.

A captured graph repeats kernels at fixed addresses. It can neither read a number back from the card, such as a shape
that follows from the pixels, nor copy one to it. So everything that follows from weights and batch size alone is
computed here, once, on the processor; the rest is walked on torch's device `meta`, which knows shapes and types and no
values, so that a step that would need a value of the card fails when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cascade.engines.base import EngineError
from cascade.engines.fused import constants_of
from cascade.engines.onnx_graph import Graph, Node, last_uses

Operator = Callable[..., Any]
FAILURES = (RuntimeError, TypeError, KeyError, IndexError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        operator: of torch.
        inputs: a name of a value that is computed, or a constant tensor on its device; None for one that is left out.
        outputs: names.
        attributes: of the node.
        ends: names of values that no later step needs.
    """

    operator: Operator
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    ends: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The steps for one batch size.

    Attributes:
        input: name of the pixels.
        outputs: names of the answers.
        steps: in their order.
    """

    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]

    def run(self, pixels: Any) -> dict[str, Any]:
        """Compute the outputs of a batch on its device.

        Args:
            pixels: uint8 RGB (n, height, width, 3), n as the plan was made for.
        """
        values = {self.input: pixels}
        for step in self.steps:
            given = [values[one] if isinstance(one, str) else one for one in step.inputs]
            found = step.operator(*given, **step.attributes)
            values.update(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
            for name in step.ends:
                del values[name]
        return {name: values[name] for name in self.outputs}


def fold_constants(graph: Graph, operators: dict[str, Operator]) -> Graph:
    """Compute what follows from the weights alone; gives a graph without these nodes.

    Raises:
        RuntimeError, TypeError, KeyError, IndexError: an operator fails.
    """
    weights, rest = {**graph.weights, **constants_of(graph.nodes)}, list[Node]()
    for node in graph.nodes:
        if all(name in weights for name in node.inputs if name):
            found = operators[node.op](*(weights[name] if name else None for name in node.inputs), **node.attributes)
            weights.update(zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=False))
        else:
            rest.append(node)
    used = {name for node in rest for name in node.inputs} | set(graph.outputs)
    return Graph(graph.input, graph.outputs, rest, {name: weights[name] for name in used & set(weights)})


class Planner:
    """Makes the plans of one model for any number of batch sizes; they share its weights on the device.

    Args:
        graph: folded, see `fold_constants`.
        operators: by name.
        settings: inputs of operators that are read on the processor, by operator and place.
        device: where plans run.
    """

    def __init__(
        self, graph: Graph, operators: dict[str, Operator], settings: dict[str, frozenset[int]], device: Any
    ) -> None:
        self._graph, self._operators, self._settings, self._device = graph, operators, settings, device
        self._ends = last_uses(graph.nodes, graph.outputs)
        self._weights: dict[str, Any] = {}

    def plan(self, batch: int) -> Plan:
        """Give the steps for a batch size.

        Raises:
            EngineError: a step needs values that only the pixels decide, or an operator fails.
        """
        import torch

        graph = self._graph
        shape = [batch if side is None else side for side in graph.input.shape]
        known: dict[str, Any] = dict(graph.weights)
        shapes: dict[str, Any] = {
            graph.input.name: torch.empty(shape, dtype=getattr(torch, graph.input.dtype), device="meta")
        }
        steps = []
        for number, node in enumerate(graph.nodes):
            try:
                made = self._step(node, number, known, shapes)
            except FAILURES as error:
                raise EngineError(
                    f"{node.op} of {', '.join(node.outputs)} cannot be part of a CUDA graph: {error}"
                ) from None
            steps += [made] if made else []
        if absent := [name for name in graph.outputs if name not in shapes]:
            raise EngineError(f"{', '.join(absent)} does not follow from the pixels")
        return Plan(graph.input.name, graph.outputs, tuple(steps))

    def _step(self, node: Node, number: int, known: dict[str, Any], shapes: dict[str, Any]) -> Step | None:
        """Compute a node that follows from constants and shapes, or add its shapes and give its step."""
        operator = self._operators[node.op]
        if node.op == "Shape" or not any(name in shapes for name in node.inputs):
            given = [(shapes if name in shapes else known)[name] if name else None for name in node.inputs]
            _add(known, node, operator(*given, **node.attributes))
            return None
        fixed = self._settings.get(node.op, frozenset())
        inputs = [self._argument(name, place in fixed, known, shapes) for place, name in enumerate(node.inputs)]
        walked = [
            shapes[one] if isinstance(one, str) else one if one is None or place in fixed else one.to("meta")
            for place, one in enumerate(inputs)
        ]
        _add(shapes, node, operator(*walked, **node.attributes))
        ends = tuple(name for name in self._ends.get(number, ()) if name in shapes)
        return Step(operator, tuple(inputs), node.outputs, node.attributes, ends)

    def _argument(self, name: str, fixed: bool, known: dict[str, Any], shapes: dict[str, Any]) -> Any:
        """A value's name, or its constant: on the processor where an operator reads it, else on the device."""
        if not name or name in shapes:
            return name or None
        if fixed:
            return known[name]
        if name not in self._graph.weights:
            return known[name].to(self._device)
        if name not in self._weights:
            self._weights[name] = known[name].to(self._device)
        return self._weights[name]


def _add(values: dict[str, Any], node: Node, found: Any) -> None:
    values.update(zip(node.outputs, found if isinstance(found, tuple) else (found,), strict=False))
