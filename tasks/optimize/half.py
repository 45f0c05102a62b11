"""An FP16 graph whose outputs are near those of the FP32 one: plain FP16 first, and parts in FP32 where parity fails.

Which parts stay FP32, and in which order they are tried, is `GROUPS`; what each family excludes from the start is
`FAMILY_GROUPS`. The report names every attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import write_bytes
from tasks.config.tensorrt import TensorRTParams
from tasks.optimize import cast, nodes
from tasks.optimize.fp16_graph import Share, rounded, share_of
from tasks.optimize.onnx_run import GraphError, nodes_beyond, open_graph
from tasks.optimize.parity import Parity, ParityLimits, ParityReference, compare, run_all

# FP32 whatever parity says: positions need more than the 11 bits of FP16
FAMILY_GROUPS: dict[nodes.Family, tuple[str, ...]] = {
    "vit": (),
    "yolo": ("box decoding",),
    "detr": ("box decoding", "sampling points"),
}
GROUPS: dict[str, nodes.Group] = {
    "box decoding": nodes.decoding,
    "sampling points": nodes.sampling,
    "normalisation": nodes.statistics,
    "attention scores": nodes.attention,
    "head": nodes.head,
}
OVERFLOW = "overflow"


class HalfError(ValueError):
    """No FP16 graph is near enough to FP32, or a graph labelled FP16 is not."""


@dataclass(frozen=True)
class HalfGraph:
    """An FP16 graph and how it was found.

    Attributes:
        model: an onnx.ModelProto.
        excluded: groups that stay FP32, by their names in `GROUPS`.
        excluded_nodes: how many nodes that is.
        share: how much of the graph is FP16.
        parity: with torch in FP32, rounded as a GPU rounds.
        attempts: what was tried; the last one is this.
    """

    model: Any
    excluded: tuple[str, ...]
    excluded_nodes: int
    share: Share
    parity: Parity
    attempts: tuple[dict[str, Any], ...]

    def row(self) -> dict[str, Any]:
        """Give what a report holds."""
        return {
            "excluded": list(self.excluded),
            "excluded_nodes": self.excluded_nodes,
            "half_share": asdict(self.share),
            "parity": self.parity.row(),
            "attempts": list(self.attempts),
        }


def write_half(
    source: Path, target: Path, reference: ParityReference, limits: ParityLimits, params: TensorRTParams, **options: Any
) -> HalfGraph:
    """Write the FP16 graph of an FP32 one.

    Args:
        source: an ONNX file with uint8 pixels as its one input.
        target: is replaced in one step; an error leaves it as it was.
        reference: images and torch's outputs.
        limits: of parity and of the share.
        params: groups that stay FP32 from the start, and how ranges are measured.
        options: see `search`.

    Raises:
        HalfError: a limit is broken even with all groups in FP32, or too little is left in FP16.
    """
    import onnx

    half = search(onnx.load(source), reference, limits, params, **options)
    check_half(half.model, source.name, limits.half_share)
    write_bytes(target, half.model.SerializeToString())
    return half


def search(
    model: Any,
    reference: ParityReference,
    limits: ParityLimits,
    params: TensorRTParams | None = None,
    *,
    converter: cast.Converter | None = None,
) -> HalfGraph:
    """Find the FP16 graph with the fewest groups in FP32 that keeps the limits.

    Args:
        model: an onnx.ModelProto in FP32.
        reference: images and torch's outputs.
        limits: of parity.
        params: groups that stay FP32 from the start, and how ranges are measured.
        converter: AutoCast where installed, by default.

    Raises:
        HalfError: a limit is broken even with all groups in FP32.
    """
    params, ready = params or TensorRTParams(), cast.prepare(model)
    converter = converter or ("autocast" if cast.has_autocast() else "onnxruntime")
    largest = cast.LARGEST_FP16 / params.range_margin
    groups = _groups(ready, reference.images[: params.range_images], largest)
    family = nodes.family_of(nodes.Graph(ready.graph))
    excluded = [group for group in groups if group in {*FAMILY_GROUPS[family], *params.exclude}]
    rest = [group for group in groups if group not in excluded]
    attempts: list[dict[str, Any]] = []
    while True:
        names = set().union(*(groups[group] for group in excluded))
        half = cast.to_half(ready, names, reference.images[:1], converter, largest=largest)
        parity = _parity(half, reference, limits)
        faults = parity.faults(limits)
        attempts.append({"excluded": list(excluded), **parity.row(), "faults": faults})
        if not faults:
            return HalfGraph(half, tuple(excluded), len(names), share_of(half), parity, tuple(attempts))
        if not rest:
            raise HalfError(f"no FP16 graph is near enough to FP32.\n{_table(attempts)}\nUse precision: fp32")
        excluded.append(rest.pop(0))


def _groups(ready: Any, images: NDArray[np.uint8], largest: float) -> dict[str, set[str]]:
    """Names of the nodes of each group that the graph has, in the order in which groups are tried."""
    graph = nodes.Graph(ready.graph)
    found = {OVERFLOW: nodes_beyond(ready, images, largest), **{name: group(graph) for name, group in GROUPS.items()}}
    return {name: members for name, members in found.items() if members}


def _parity(half: Any, reference: ParityReference, limits: ParityLimits) -> Parity:
    try:
        run = open_graph(rounded(half))
    except GraphError as error:
        raise HalfError(f"FP16: {error}") from None
    return compare(reference.outputs, run_all(run, reference.images), limits)


def _table(attempts: Sequence[dict[str, Any]]) -> str:
    return "\n".join(
        f"  in FP32: {', '.join(attempt['excluded']) or 'nothing'}: {'; '.join(attempt['faults'])}"
        for attempt in attempts
    )


def check_half(model: Any, name: str, least: float) -> Share:
    """Refuse an FP32 graph that is labelled FP16.

    Args:
        model: an onnx.ModelProto.
        name: for the message.
        least: share of operations and of weights that must be FP16.

    Returns:
        The shares.

    Raises:
        HalfError: less is FP16.
    """
    share = share_of(model)
    if min(share.operations, share.weights) < least:
        raise HalfError(
            f"{name} is labelled FP16, but {share.operations:.0%} of its operations and {share.weights:.0%} of its "
            f"weights are; export.tensorrt.min_half_share asks for {least:.0%}. TensorRT would build what the graph "
            "says, an FP32 engine; write the graph with tasks.optimize.half, or ask for precision: fp32"
        )
    return share
