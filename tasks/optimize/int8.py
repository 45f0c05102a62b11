"""Int8 by NNCF post-training quantization, and the decision whether an int8 engine may serve.

The result is ONNX with QuantizeLinear and DequantizeLinear, so OpenVINO and ONNX Runtime load it. Weights are stored as
bytes: a quarter of the size.
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

# Xiao et al. 2023 (arXiv:2211.10438) use 0.5 too; NNCF's own 0.95 left twice the error of the logit on DINOv2-S, 0.21
# against 0.12
SMOOTH_QUANT_ALPHA = 0.5


class QuantizationError(ValueError):
    """A model cannot be quantized, or nothing in it was."""


@dataclass(frozen=True)
class Int8Decision:
    """Whether an int8 engine may take the place of another, and the figures behind it.

    Attributes:
        accepted: whether it may.
        why: the limits that it breaks, or the figures that keep them.
        mcc: of the int8 engine.
        mcc_before: of the engine that it would replace.
        max_probability_gap: largest difference to torch fp32.
    """

    accepted: bool
    why: str
    mcc: float
    mcc_before: float
    max_probability_gap: float


def quantize(
    model: Path,
    images: NDArray[np.uint8],
    target: Path,
    *,
    exclude: Sequence[str],
    transformer: bool,
    smooth_quant_alpha: float = SMOOTH_QUANT_ALPHA,
) -> None:
    """Quantize an ONNX model.

    Args:
        model: fp32, of one input.
        images: uint8 RGB (n, size, size, 3), preprocessed as in service; ranges of activations are measured on them.
        target: where the int8 ONNX goes, in one step.
        exclude: regular expressions; nodes whose whole name matches one are not quantized.
        transformer: whether NNCF uses SmoothQuant and its scheme for attention (`ModelType.TRANSFORMER`).
        smooth_quant_alpha: how far SmoothQuant moves outliers from activations into weights, 0 to 1.

    Raises:
        QuantizationError: the model is broken, has an operator that cannot be run, or nothing was quantized.
        OSError: no space is left; `target` stays as it was.
    """
    import onnx

    with one_error(model):
        quantized = _nncf(onnx.load(model), images, exclude, smooth_quant_alpha, transformer=transformer)
    if not any(node.op_type == "QuantizeLinear" for node in quantized.graph.node):
        raise QuantizationError(f"{model}: nothing was quantized; export.int8.exclude may cover every node")
    write_bytes(target, quantized.SerializeToString(deterministic=True))


@contextmanager
def one_error(model: Path) -> Iterator[None]:
    """Raise QuantizationError for whatever is wrong with a model; errors of files pass unchanged."""
    try:
        yield
    except OSError:
        raise
    # protobuf, onnx, ONNX Runtime and NNCF share no base class but this
    except Exception as error:
        raise QuantizationError(f"{model}: cannot be quantized: {str(error).strip().splitlines()[0]}") from None


def _nncf(
    source: Any, images: NDArray[np.uint8], exclude: Sequence[str], smooth_quant_alpha: float, *, transformer: bool
) -> Any:
    # before the import, which reads the switch and sends usage reports
    switch_off()
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

    nncf.set_log_level(logging.ERROR)
    smooth = AdvancedSmoothQuantParameters(matmul=smooth_quant_alpha)
    name = source.graph.input[0].name
    excluded = [node.name for node in source.graph.node if any(re.fullmatch(one, node.name) for one in exclude)]
    return nncf.quantize(
        source,
        nncf.Dataset(range(len(images)), lambda index: {name: images[index : index + 1]}),
        subset_size=len(images),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
        # SiLU and GELU are not symmetric about zero
        preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=AdvancedQuantizationParameters(smooth_quant_alphas=smooth),
        ignored_scope=nncf.IgnoredScope(names=excluded, validate=False),
    )


def decide_int8(
    logit: NDArray[np.floating[Any]],
    before: NDArray[np.floating[Any]],
    label: NDArray[np.integer[Any]],
    gap: float,
    *,
    weight: NDArray[np.floating[Any]],
    max_mcc_drop: float,
    max_probability_gap: float,
) -> Int8Decision:
    """Decide whether int8 may serve.

    Args:
        logit: of the int8 engine, (n,).
        before: of the engine that it would replace, on the same images, (n,).
        label: 0 or 1, (n,).
        gap: largest |Δp| against torch fp32.
        weight: of each image in the MCC, (n,).
        max_mcc_drop: limit of the MCC that is lost.
        max_probability_gap: limit of the gap.
    """
    from cascade.evaluate.scores import mcc

    now, then = mcc(label, logit > 0, weight), mcc(label, before > 0, weight)
    reasons = []
    if then - now > max_mcc_drop:
        reasons.append(f"MCC drops from {then:.4f} to {now:.4f}, more than int8.max_mcc_drop {max_mcc_drop}")
    if gap > max_probability_gap:
        reasons.append(f"|Δp| of {gap:.4f} exceeds int8.max_probability_gap {max_probability_gap}")
    why = "; ".join(reasons) or f"MCC {now:.4f} against {then:.4f}, |Δp| {gap:.4f}"
    return Int8Decision(not reasons, why, round(now, 4), round(then, 4), round(gap, 6))
