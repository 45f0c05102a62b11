"""An FP16 graph that answers like the FP32 one: plain FP16 first, and parts kept in FP32 only where parity asks for it.

Which parts, and in which order they are tried, is the `LADDER`; what each family starts with is `START`. The report
names every try, so that a person sees what FP16 cost and what was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import write_bytes
from tasks.optimize import cast, nodes
from tasks.optimize.parity import Answer, Parity, ParityLimits, ParityReport, compare, run_all

# kept in FP32 from the start: positions need more than 11 bits whatever the parity pictures say
START: dict[nodes.Family, tuple[str, ...]] = {
    "vit": (),
    "yolo": ("box decoding",),
    "detr": ("box decoding", "sampling points"),
}
LADDER: dict[str, nodes.Group] = {
    "box decoding": nodes.decoding,
    "sampling points": nodes.sampling,
    "normalisation": nodes.statistics,
    "attention scores": nodes.attention,
    "head": nodes.head,
}
OVERFLOW = "overflow"
# pictures that ranges are measured on: every tensor of the network is an output then
MEASURED = 2


class HalfError(ValueError):
    """No FP16 graph is near enough to FP32, or a graph said to be FP16 is not."""


@dataclass(frozen=True)
class Half:
    """An FP16 graph and how it came about.

    Attributes:
        model: an onnx.ModelProto.
        kept: what stays FP32, by the names of `LADDER`.
        nodes: how many nodes that is.
        share: how much of the graph is FP16.
        parity: with torch in FP32, rounded as a GPU rounds.
        tries: every attempt, the last one is this.
    """

    model: Any
    kept: tuple[str, ...]
    nodes: int
    share: cast.Share
    parity: Parity
    tries: tuple[dict[str, Any], ...]

    def row(self) -> dict[str, Any]:
        """Give what a report holds."""
        return {
            "kept_in_fp32": list(self.kept),
            "kept_nodes": self.nodes,
            "half_share": asdict(self.share),
            "parity": self.parity.row(),
            "tries": list(self.tries),
        }


def write_half(source: Path, target: Path, proof: ParityReport, limits: ParityLimits, **options: Any) -> Half:
    """Write the FP16 graph of an FP32 one.

    Args:
        source: an ONNX file with uint8 pixels as its one input.
        target: is replaced in one step; an error leaves it as it was.
        proof: pictures and torch's answers.
        limits: of parity and of the share.
        options: see `search`.

    Raises:
        HalfError: even with all groups kept in FP32 a limit is broken, or too little is left in FP16.
    """
    import onnx

    half = search(onnx.load(source), proof, limits, **options)
    check_half(half.model, source.name, limits.half_share)
    write_bytes(target, half.model.SerializeToString())
    return half


def search(
    model: Any,
    proof: ParityReport,
    limits: ParityLimits,
    *,
    start: Sequence[str] = (),
    converter: cast.Converter | None = None,
) -> Half:
    """Find the FP16 graph that keeps least in FP32.

    Args:
        model: an onnx.ModelProto in FP32.
        proof: pictures and torch's answers.
        limits: of parity.
        start: groups of `LADDER` to keep from the start, besides `START`.
        converter: AutoCast where installed, if not said.

    Raises:
        HalfError: even with all groups kept in FP32 a limit is broken.
    """
    converter = converter or ("autocast" if cast.has_autocast() else "onnxruntime")
    ready = cast.prepare(model)
    groups = _groups(ready, proof.pictures[:MEASURED])
    family = nodes.family_of(nodes.Graph(ready.graph))
    kept = [group for group in groups if group in {*START[family], *start} and groups[group]]
    rest = [group for group in groups if group not in kept and groups[group]]
    tries: list[dict[str, Any]] = []
    while True:
        keep = set().union(*(groups[group] for group in kept))
        half = cast.to_half(ready, keep, proof.pictures[:1], converter)
        parity = compare(proof.reference, run_all(session(cast.rounded(half)), proof.pictures))
        faults = parity.faults(limits)
        tries.append({"kept_in_fp32": list(kept), **parity.row(), "faults": faults})
        if not faults:
            return Half(half, tuple(kept), len(keep), cast.share_of(half), parity, tuple(tries))
        if not rest:
            raise HalfError(f"no FP16 graph is near enough to FP32.\n{_table(tries)}\nUse precision: fp32")
        kept.append(rest.pop(0))


def _groups(ready: Any, pictures: NDArray[np.uint8]) -> dict[str, set[str]]:
    graph = nodes.Graph(ready.graph)
    return {OVERFLOW: overflowing(ready, pictures), **{name: group(graph) for name, group in LADDER.items()}}


def _table(tries: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"  in FP32: {', '.join(attempt['kept_in_fp32']) or 'nothing'}: {'; '.join(attempt['faults'])}"
        for attempt in tries
    )


def overflowing(ready: Any, pictures: NDArray[np.uint8]) -> set[str]:
    """Nodes whose results, or the weights they take, come near the largest FP16 number on these pictures."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(ready)
    kinds = cast.types_of(ready)
    real = [name for node in ready.graph.node for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]
    known = {item.name for item in copy.graph.output}
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in real if name not in known
    )
    run, large = session(copy), _large_weights(ready)
    for picture in pictures:
        # one by one: all tensors of the network are held at once
        found = run(picture[None])
        large |= {name for name in real if found[name].size and _reach(found[name]) > cast.SAFE_RANGE}
    return {node.name for node in ready.graph.node if large & {*node.output, *node.input}}


def _large_weights(model: Any) -> set[str]:
    import onnx

    real = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    return {item.name for item in real if _reach(onnx.numpy_helper.to_array(item)) > cast.SAFE_RANGE}


def _reach(values: NDArray[Any]) -> float:
    """Largest finite magnitude; masks are infinite on purpose, and FP16 has infinity too."""
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0.0))


def session(model: Any) -> Answer:
    """Load a graph in ONNX Runtime, node by node as it is written.

    Raises:
        HalfError: it cannot be loaded: the converter made types that do not fit.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        loaded = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    # its exceptions share no base class but this
    except Exception as error:
        raise HalfError(f"the FP16 graph does not load: {str(error).splitlines()[0]}") from None
    names, image = [item.name for item in loaded.get_outputs()], loaded.get_inputs()[0].name

    def answer(batch: NDArray[np.uint8]) -> dict[str, NDArray[np.floating[Any]]]:
        return dict(zip(names, loaded.run(names, {image: batch}), strict=True))

    return answer


def check_half(model: Any, name: str, least: float) -> cast.Share:
    """Refuse an FP32 graph that is labelled FP16.

    Args:
        model: an onnx.ModelProto.
        name: for the message.
        least: share of operations and of weights that must be FP16.

    Raises:
        HalfError: less is.
    """
    share = cast.share_of(model)
    if min(share.operations, share.weights) < least:
        raise HalfError(
            f"{name} is labelled FP16, but {share.operations:.0%} of its operations and {share.weights:.0%} of its "
            f"weights are; export.tensorrt.min_half_share asks for {least:.0%}. TensorRT would build what the graph "
            "says, an FP32 engine; write the graph with tasks.optimize.half, or ask for precision: fp32"
        )
    return share
