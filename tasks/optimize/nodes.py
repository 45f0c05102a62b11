"""Groups of nodes of an ONNX graph that FP16 may harm, found by what the nodes do and not by their names.

The groups follow reports on GitHub: DETRs lose boxes when sampling points and box arithmetic run in 11 bits, ViTs when
attention scores do (issues lightly-train 870, DEIMv2 60 and 112), both when statistics do (rf-detr 176 and 352).
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
# operators between attention scores and the product that they come from
ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Where", "Cast", "Reshape", "Clip", "Max"}


class Graph:
    """Which node makes a tensor and which nodes use it; nodes are identified by their names.

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
        """Give the types of all operators in the graph."""
        return {node.op_type for node in self.nodes.values()}

    def learnt(self, node: Any) -> bool:
        """Tell whether a node multiplies by weights, in contrast to a product of two activations."""
        return node.op_type in LEARNT and any(name in self.weights for name in node.input[1:])

    def behind(self, tensors: Iterable[str], stop: Callable[[Any], bool]) -> set[str]:
        """Give the names of the nodes that tensors come from, back to the nodes that `stop` accepts, without them."""
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
    """Tell the family: a DETR samples at points, a YOLO gives boxes without sampling, a classifier neither."""
    if "GridSample" in graph.kinds():
        return "detr"
    return "yolo" if "corners" in graph.outputs else "vit"


def decoding(graph: Graph) -> set[str]:
    """Nodes from the last weights to box corners: FP16 has no half pixels beyond position 1024."""
    return graph.behind([name for name in graph.outputs if name == "corners"], graph.learnt)


def sampling(graph: Graph) -> set[str]:
    """Nodes that sample at points, and those from the last weights to the points."""
    samplers = [node for node in graph.nodes.values() if node.op_type == "GridSample"]
    points = graph.behind([node.input[1] for node in samplers], graph.learnt)
    return points | {node.name for node in samplers}


def statistics(graph: Graph) -> set[str]:
    """Means, variances and divisions by them: sums over many channels lose small terms in FP16."""
    return {node.name for node in graph.nodes.values() if node.op_type in STATISTICS}


def attention(graph: Graph) -> set[str]:
    """Softmax nodes, and those from the product of queries and keys to its scores, that product included."""
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
    """Nodes from the last normalisation to the outputs."""
    return graph.behind(graph.outputs, lambda node: node.op_type in {"LayerNormalization", "GridSample", "Concat"})
