"""Which layers int8 leaves alone: the first of some choices whose answers stay near enough to torch's.

Where rounding shows most depends on the weights: each retrain may want another layer spared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import Kind
from cascade.engines.classifier import load_engine
from tasks.config import ExportParams
from tasks.optimize.report import both_ways

Exclusion = tuple[str, ...]


def choose_exclusions(
    write: Callable[[Exclusion], None],
    folder: Path,
    kind: Kind,
    params: ExportParams,
    pictures: NDArray[np.uint8],
    truth: NDArray[np.float64],
) -> Exclusion:
    """Write the int8 model with the first choice that holds; where none does, with the one that comes nearest.

    Args:
        write: makes the int8 model in `folder`, sparing the nodes that are named.
        folder: of the model and its contract.
        kind: the engine that will serve.
        params: section `export`; `int8.exclude` are the choices, `int8.max_probability_gap` is what they must keep.
        pictures: uint8 (n, size, size, 3).
        truth: torch's logits of them in fp32, (n,).

    Raises:
        QuantizationError: a choice leaves nothing to quantize.
        EngineError: the int8 model does not load.
    """
    choices, gaps = params.int8.exclude, []
    for exclusion in choices:
        write(exclusion)
        # the trial measures a sole choice anyway
        gaps.append(_gap(folder, kind, params, pictures, truth) if len(choices) > 1 else 0.0)
        if gaps[-1] <= params.int8.max_probability_gap:
            return exclusion
    nearest = choices[int(np.argmin(gaps))]
    write(nearest)
    return nearest


def _gap(
    folder: Path, kind: Kind, params: ExportParams, pictures: NDArray[np.uint8], truth: NDArray[np.float64]
) -> float:
    engine = load_engine(folder, kind, "int8", params.threads)
    try:
        return float(both_ways(engine.run, pictures, truth, params.batch.optimum)["max_probability_gap"])
    finally:
        engine.close()
