"""Int8 by NNCF post-training quantization: ONNX with QuantizeLinear and DequantizeLinear, kept only if it holds.

The result is ONNX again, so OpenVINO and ONNX Runtime load it, and a release vouches for it by digest as for any other
file. Weights are stored as bytes: a quarter of the size.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.common.files import write_bytes
from tasks.common.telemetry import switch_off

# how far SmoothQuant moves outliers from activations into weights (Xiao et al. 2023 take a half); NNCF's own .95 left
# twice the error of the logit on DINOv2-S, .21 against .12
SMOOTH = 0.5


class QuantizationError(ValueError):
    """A model cannot be quantized, or nothing in it was."""


@dataclass(frozen=True)
class Int8Decision:
    """Whether an int8 engine may take the place of another, and the figures that say so."""

    kept: bool
    why: str
    mcc: float
    mcc_before: float
    max_probability_gap: float


def quantize(model: Path, pictures: NDArray[np.uint8], target: Path, *, keep: Sequence[str], transformer: bool) -> None:
    """Quantize an ONNX model.

    Args:
        model: fp32, of one input.
        pictures: what activations' ranges are measured on, uint8 (n, size, size, 3), preprocessed as in service.
        target: where the int8 ONNX goes, in one step.
        keep: regular expressions; nodes whose whole name fits one stay as they are.
        transformer: SmoothQuant and the scheme that NNCF has for attention (`ModelType.TRANSFORMER`).

    Raises:
        QuantizationError: the model is broken, has an operator that cannot be run, or nothing was quantized.
        OSError: no space is left; `target` stays as it was.
    """
    import onnx

    with one_error(model):
        quantized = _nncf(onnx.load(model), pictures, keep, transformer=transformer)
    if not any(node.op_type == "QuantizeLinear" for node in quantized.graph.node):
        raise QuantizationError(f"{model}: nothing was quantized; export.int8.exclude may cover every node")
    write_bytes(target, quantized.SerializeToString(deterministic=True))


@contextmanager
def one_error(model: Path) -> Iterator[None]:
    """Give whatever is wrong with a model one name; a full disk or a missing file keeps its own."""
    try:
        yield
    except OSError:
        raise
    # protobuf, onnx, ONNX Runtime and NNCF share no base class but this
    except Exception as error:
        raise QuantizationError(f"{model}: cannot be quantized: {str(error).strip().splitlines()[0]}") from None


def _nncf(source: Any, pictures: NDArray[np.uint8], keep: Sequence[str], *, transformer: bool) -> Any:
    # before the import: NNCF reads its switch then, and would call home
    switch_off()
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    nncf.set_log_level(logging.ERROR)
    smooth = AdvancedSmoothQuantParameters(matmul=SMOOTH)
    name = source.graph.input[0].name
    kept = [node.name for node in source.graph.node if any(re.fullmatch(one, node.name) for one in keep)]
    return nncf.quantize(
        source,
        nncf.Dataset(range(len(pictures)), lambda index: {name: pictures[index : index + 1]}),
        subset_size=len(pictures),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        # SiLU and GELU are not symmetric about zero
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=AdvancedQuantizationParameters(smooth_quant_alphas=smooth),
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )


def decide_int8(
    logit: NDArray[np.floating[Any]],
    before: NDArray[np.floating[Any]],
    label: NDArray[np.integer[Any]],
    gap: float,
    *,
    max_mcc_drop: float,
    max_probability_gap: float,
) -> Int8Decision:
    """Decide whether int8 is kept.

    Args:
        logit: of the int8 engine, (n,).
        before: of the engine that it would replace, on the same pictures.
        label: 0 or 1.
        gap: largest |Δp| against torch fp32 on the parity pictures.
        max_mcc_drop: and
        max_probability_gap: the limits.
    """
    from cascade.evaluate.scores import mcc

    now, then = mcc(label, logit > 0), mcc(label, before > 0)
    reasons = []
    if then - now > max_mcc_drop:
        reasons.append(f"MCC drops from {then:.4f} to {now:.4f}, more than int8.max_mcc_drop {max_mcc_drop}")
    if gap > max_probability_gap:
        reasons.append(f"|Δp| of {gap:.4f} exceeds int8.max_probability_gap {max_probability_gap}")
    why = "; ".join(reasons) or f"MCC {now:.4f} against {then:.4f}, |Δp| {gap:.4f}"
    return Int8Decision(not reasons, why, round(now, 4), round(then, 4), round(gap, 6))
