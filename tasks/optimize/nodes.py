"""Which nodes of an ONNX graph FP16 hurts: named groups, found by what the nodes do and not by what they are called.

The groups follow reports from the field: DETRs lose boxes when sampling points and box arithmetic run in 11 bits, ViTs
when attention scores do (lightly-train 870, DEIMv2 60 and 112), both when statistics do (rf-detr 176 and 352).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

Family = Literal["vit", "detr", "yolo"]
Group = Callable[["Graph"], set[str]]
STATISTICS = {
    "LayerNormalization", "GroupNormalization", "InstanceNormalization", "BatchNormalization", "ReduceMean",
    "ReduceSum", "ReduceL2", "Pow", "Sqrt", "Reciprocal", "SimplifiedLayerNormalization", "RMSNormalization",
}  # fmt: skip
LEARNT = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# where a walk from attention scores back to their product goes through
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Where", "Cast", "Reshape", "Clip", "Max"}


class Graph:
    """Who makes a tensor and who uses it; a node is known by its name.

    Args:
        graph: an onnx.GraphProto whose nodes all have names of their own.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes = {node.name: node for node in graph.node}
        self.makers = {output: node for node in graph.node for output in node.output}
        self.users: dict[str, list[Any]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.users[name].append(node)
        self.weights = {item.name for item in graph.initializer}
        self.outputs = [item.name for item in graph.output]

    def kinds(self) -> set[str]:
        """Give the operators that occur."""
        return {node.op_type for node in self.nodes.values()}

    def learnt(self, node: Any) -> bool:
        """Tell whether a node multiplies by weights: a projection, against a product of two activations."""
        return node.op_type in LEARNT and any(name in self.weights for name in node.input[1:])

    def behind(self, tensors: Iterable[str], stop: Callable[[Any], bool]) -> set[str]:
        """Give the nodes that a tensor comes from, up to and without those at which `stop` says so."""
        found: set[str] = set()
        waiting = list(tensors)
        while waiting:
            node = self.makers.get(waiting.pop())
            if node is None or node.name in found or stop(node):
                continue
            found.add(node.name)
            waiting += node.input
        return found


def family_of(graph: Graph) -> Family:
    """Tell a DETR (it samples at points), a YOLO (boxes without sampling) and a classifier apart."""
    if "GridSample" in graph.kinds():
        return "detr"
    return "yolo" if "corners" in graph.outputs else "vit"


def decoding(graph: Graph) -> set[str]:
    """From the last weights to box corners: pixel positions beyond 1024 have no half pixels in FP16."""
    return graph.behind([name for name in graph.outputs if name == "corners"], graph.learnt)


def sampling(graph: Graph) -> set[str]:
    """Sampling at points, and from the last weights to the points."""
    samplers = [node for node in graph.nodes.values() if node.op_type == "GridSample"]
    points = graph.behind([node.input[1] for node in samplers], graph.learnt)
    return points | {node.name for node in samplers}


def statistics(graph: Graph) -> set[str]:
    """Means, variances and what divides by them: sums over many channels lose small terms."""
    return {node.name for node in graph.nodes.values() if node.op_type in STATISTICS}


def attention(graph: Graph) -> set[str]:
    """Softmax, and its scores back to the product of queries and keys, that product included."""
    found: set[str] = set()
    for node in graph.nodes.values():
        if node.op_type == "Softmax":
            between = graph.behind([node.input[0]], lambda other: other.op_type not in ELEMENTWISE)
            products = {
                graph.makers[name].name
                for inner in (*between, node.name)
                for name in graph.nodes[inner].input
                if name in graph.makers and graph.makers[name].op_type == "MatMul"
            }
            found |= between | products | {node.name}
    return found


def head(graph: Graph) -> set[str]:
    """From the last normalisation to the outputs: the few layers that turn features into an answer."""
    return graph.behind(graph.outputs, lambda node: node.op_type in {"LayerNormalization", "GridSample", "Concat"})
