"""Which nodes int8 excludes: the first choice whose outputs stay near enough to torch's.

Which layers lose most by rounding depends on the weights, so each retrain may need another choice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import Kind
from cascade.engines.classifier import load_engine
from tasks.config import ExportParams
from tasks.optimize.report import gap_one_and_many

# regular expressions for names of nodes that are not quantized
Exclusion = tuple[str, ...]


class ChosenExclusion(NamedTuple):
    """Nodes that are not quantized.

    Attributes:
        nodes: regular expressions.
        gap: of the int8 model to torch, see `tasks.optimize.report.gap_one_and_many`; None where it was not measured.
    """

    nodes: Exclusion
    gap: dict[str, Any] | None


def choose_exclusions(
    write: Callable[[Exclusion], None],
    folder: Path,
    kind: Kind,
    params: ExportParams,
    images: NDArray[np.uint8],
    reference: NDArray[np.float64],
) -> ChosenExclusion:
    """Write the int8 model with the first choice that keeps the limit; where none does, with the nearest one.

    Args:
        write: makes the int8 model in `folder`, without the nodes that are named.
        folder: of the model and its contract.
        kind: the engine that will serve.
        params: section `export`; `int8.exclude` are the choices, `int8.max_probability_gap` is the limit.
        images: uint8 RGB (n, size, size, 3).
        reference: torch's logits of them in fp32, (n,).

    Raises:
        QuantizationError: a choice leaves nothing to quantize.
        EngineError: the int8 model does not load.
    """
    tried: list[ChosenExclusion] = []
    for nodes in params.int8.exclude:
        write(nodes)
        if len(params.int8.exclude) == 1:
            return ChosenExclusion(nodes, None)
        tried.append(ChosenExclusion(nodes, _gap(folder, kind, params, images, reference)))
        if _largest(tried[-1]) <= params.int8.max_probability_gap:
            return tried[-1]
    nearest = min(tried, key=_largest)
    write(nearest.nodes)
    return nearest


def _largest(tried: ChosenExclusion) -> float:
    return float(tried.gap["max_probability_gap"]) if tried.gap else 0.0


def _gap(
    folder: Path, kind: Kind, params: ExportParams, images: NDArray[np.uint8], reference: NDArray[np.float64]
) -> dict[str, Any]:
    engine = load_engine(folder, kind, "int8", params.threads)
    try:
        return gap_one_and_many(engine.run, images, reference, params.batch.optimum)
    finally:
        engine.close()
