"""ONNX operators in torch: those that the exported classifiers and detectors use (opset 17), and no others.

Import this only where torch is wanted, it loads at the top. Each function takes the operator's inputs in order and its
attributes by name (https://onnx.ai/onnx/operators/). Those that detectors alone use are in `operators_vision.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cascade.engines.operators_vision import VISION

DTYPES = {
    1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
    11: torch.float64,
}  # fmt: skip
# inputs that say how an operator works: whatever computes the others, these are read on the processor
SETTINGS: dict[str, frozenset[int]] = {
    "ConstantOfShape": frozenset({0}),
    "CumSum": frozenset({1}),
    "Expand": frozenset({1}),
    "Pad": frozenset({1, 2, 3}),
    "ReduceSum": frozenset({1}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Tile": frozenset({1}),
    "TopK": frozenset({1}),
    "Unsqueeze": frozenset({1}),
}


def _cast(x: Tensor, to: int) -> Tensor:
    return x.to(DTYPES[to])


def _shape(x: Tensor, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def _reshape(x: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    sizes = [x.shape[axis] if size == 0 and not allowzero else size for axis, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _transpose(x: Tensor, perm: list[int]) -> Tensor:
    return x.permute(perm)


def _gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    at = axis % x.ndim
    # ONNX counts from the end where an index is negative, torch refuses it
    positive = torch.where(indices < 0, indices + x.shape[at], indices)
    picked = torch.index_select(x, at, positive.flatten())
    return picked.reshape([*x.shape[:at], *indices.shape, *x.shape[at + 1 :]])


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    over = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    cut: list[slice] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(over, starts.tolist(), ends.tolist(), by, strict=True):
        cut[axis] = slice(start, end, step)
    return x[tuple(cut)]


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _norm(x: Tensor, scale: Tensor, bias: Tensor | None = None, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
    return functional.layer_norm(x, x.shape[axis:], scale, bias, epsilon)


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: int = 1,
    dilations: list[int] | None = None,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    del kernel_shape  # the weight's own
    around = pads or [0, 0, 0, 0]
    padded = functional.pad(x, (around[1], around[3], around[0], around[2])) if any(around) else x
    return functional.conv2d(padded, weight, bias, strides or 1, 0, dilations or 1, group)


def _gemm(a: Tensor, b: Tensor, c: Tensor | None = None, **options: float) -> Tensor:
    alpha, beta = options.get("alpha", 1), options.get("beta", 1)
    product = alpha * ((a.T if options.get("transA") else a) @ (b.T if options.get("transB") else b))
    return product if c is None else product + beta * c


def _mean(x: Tensor, axes: list[int], keepdims: int = 1) -> Tensor:
    return x.mean(axes, keepdim=bool(keepdims))


def _most(x: Tensor, axes: list[int], keepdims: int = 1) -> Tensor:
    return x.amax(axes, keepdim=bool(keepdims))


def _sum(x: Tensor, axes: Tensor | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    over = [] if axes is None else axes.tolist()
    if not over and noop_with_empty_axes:
        return x
    return x.sum(over or list(range(x.ndim)), keepdim=bool(keepdims))


def _topk(x: Tensor, k: Tensor, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    values, indices = x.topk(int(k), dim=axis, largest=bool(largest), sorted=bool(sorted))
    return values, indices


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "Cast": _cast,
    "Concat": lambda *parts, axis: torch.cat(parts, dim=axis),
    "Constant": lambda value: value,
    "ConstantOfShape": lambda shape, value: value.expand(shape.tolist()),
    "Conv": _conv,
    "Div": lambda a, b: a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc"),
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, torch.Size(shape.tolist()))),
    "Flatten": lambda x, axis=1: x.reshape(x.shape[:axis].numel(), -1),
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": lambda x: x,
    "LayerNormalization": _norm,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "ReduceMax": _most,
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": lambda x, axis=-1: torch.softmax(x, dim=axis),
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "TopK": _topk,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
    **VISION,
}
