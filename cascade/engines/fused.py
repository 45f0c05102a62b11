"""ONNX operators that torch computes in fewer kernels: attention, GELU, SiLU, a product with its bias, one of a row.

Written out, attention stores the scores of all pairs of tokens and GELU five copies of the widest tensor, which costs a
card more time than the products between them. The kernels take fp16 and add, exponentiate and normalise in fp32. A
chain that differs from these patterns, by a cast or a further use of a value between, stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cascade.engines.onnx_graph import Graph, Node

ATTENTION, GELU, LINEAR, SELECT, SILU = "Attention", "Gelu", "Linear", "Select", "Silu"
# what fp16 leaves of the square root of two
CLOSE = 1e-3


def operators() -> dict[str, Callable[..., Any]]:
    """The fused operators by their names here."""
    import torch
    from torch.nn import functional

    def attention(query: Any, key: Any, value: Any) -> Any:
        if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
            # the kernels do not repeat what is there once
            return torch.softmax(query @ key, dim=-1) @ value
        # the scale is part of the queries; the key comes as the graph turned it, (..., channels, tokens)
        return functional.scaled_dot_product_attention(query, key.mT, value, scale=1.0)

    def linear(x: Any, weight: Any, bias: Any) -> Any:
        return functional.linear(x, weight.T, bias)

    def select(x: Any, axis: int, index: int) -> Any:
        # a view, where Gather copies
        return x.select(axis, index)

    return {ATTENTION: attention, GELU: functional.gelu, LINEAR: linear, SELECT: select, SILU: functional.silu}


def fuse(graph: Graph) -> Graph:
    """Give the same function in fewer operations; a value that something else needs is kept."""
    found = _Finder(graph)
    patterns = (found.attention, found.gelu, found.silu, found.linear, found.select)
    replaced: dict[int, Node] = {}
    dropped: set[int] = set()
    for number in range(len(graph.nodes)):
        for pattern in patterns:
            match = pattern(number)
            if match and not match.members & (dropped | set(replaced)):
                replaced[number] = match.node
                dropped |= match.members - {number}
                break
    nodes = [replaced.get(number, node) for number, node in enumerate(graph.nodes) if number not in dropped]
    return Graph(graph.input, graph.outputs, nodes, graph.weights)


@dataclass(frozen=True)
class _Match:
    """A chain, by the numbers of its nodes, and the node that takes the place of the last one."""

    members: set[int]
    node: Node


class _Finder:
    """Looks for the pattern that ends at a node."""

    def __init__(self, graph: Graph) -> None:
        self._nodes, self._weights, self._uses = graph.nodes, graph.weights, graph.uses()
        self._makers = {name: number for number, node in enumerate(graph.nodes) for name in node.outputs}

    def attention(self, number: int) -> _Match | None:
        """MatMul(Softmax(MatMul(query, key)), value)."""
        last = self._nodes[number]
        softmax = self._before(last, 0, "MatMul", "Softmax")
        scores = None if softmax is None else self._before(self._nodes[softmax], 0, "Softmax", "MatMul")
        if softmax is None or scores is None or self._nodes[softmax].attributes.get("axis", -1) not in (-1, 3):
            return None
        query, key = self._nodes[scores].inputs
        return _Match({number, softmax, scores}, Node(ATTENTION, (query, key, last.inputs[1]), last.outputs))

    def gelu(self, number: int) -> _Match | None:
        """0.5 x (1 + erf(x / sqrt 2)), its factors in the order in which torch exports them."""
        last = self._nodes[number]
        inner = self._before(last, 0, "Mul", "Mul")
        if inner is None or not self._is(last.inputs[1], 0.5):
            return None
        chain, node = {number, inner}, self._nodes[inner]
        for place, op, factor in ((1, "Add", 1.0), (0, "Erf", None), (0, "Div", math.sqrt(2))):
            before = self._before(node, place, node.op, op)
            if before is None or (factor and not self._is(self._nodes[before].inputs[1], factor)):
                return None
            chain.add(before)
            node = self._nodes[before]
        (x, _), same = node.inputs, self._nodes[inner].inputs[0]
        return _Match(chain, Node(GELU, (x,), last.outputs)) if x == same else None

    def silu(self, number: int) -> _Match | None:
        """Mul(x, Sigmoid(x)), in either order."""
        last = self._nodes[number]
        for place in (0, 1):
            sigmoid = self._before(last, place, "Mul", "Sigmoid")
            if sigmoid is not None and self._nodes[sigmoid].inputs[0] == last.inputs[1 - place]:
                return _Match({number, sigmoid}, Node(SILU, self._nodes[sigmoid].inputs[:1], last.outputs))
        return None

    def linear(self, number: int) -> _Match | None:
        """Add(MatMul(x, weight), bias) with constants of two and one axes, in either order."""
        last = self._nodes[number]
        for place in (0, 1):
            product = self._before(last, place, "Add", "MatMul")
            if product is None:
                continue
            x, weight = self._nodes[product].inputs
            bias = last.inputs[1 - place]
            if self._axes(weight) == 2 and self._axes(bias) == 1:
                return _Match({number, product}, Node(LINEAR, (x, weight, bias), last.outputs))
        return None

    def select(self, number: int) -> _Match | None:
        """Gather of one constant index."""
        node = self._nodes[number]
        if node.op != "Gather" or self._axes(node.inputs[1]) != 0:
            return None
        where = {"axis": node.attributes.get("axis", 0), "index": int(self._weights[node.inputs[1]])}
        return _Match({number}, Node(SELECT, node.inputs[:1], node.outputs, where))

    def _before(self, node: Node, place: int, op: str, wanted: str) -> int | None:
        """Number of the node that makes an input of a node, where it is of an operator and made for that alone."""
        if node.op != op or len(node.inputs) <= place or self._uses[node.inputs[place]] != 1:
            return None
        number = self._makers.get(node.inputs[place])
        return number if number is not None and self._nodes[number].op == wanted else None

    def _is(self, name: str, value: float) -> bool:
        """Whether a value is a constant of one number, and near enough to this one."""
        constant = self._weights.get(name)
        return constant is not None and constant.numel() == 1 and abs(float(constant) - value) <= CLOSE * value

    def _axes(self, name: str) -> int:
        constant = self._weights.get(name)
        return -1 if constant is None else int(constant.ndim)


def constants_of(nodes: Iterable[Node]) -> dict[str, Any]:
    """Values of the nodes `Constant`, by the name of their output."""
    return {node.outputs[0]: node.attributes["value"] for node in nodes if node.op == "Constant"}
