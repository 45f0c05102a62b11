"""ONNX operators in torch that detectors use beside those of classifiers (opset 17); see `operators.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

GRID_MODES = {"bilinear": "bilinear", "linear": "bilinear", "nearest": "nearest", "bicubic": "bicubic"}
# by ONNX' mode and coordinate_transformation_mode: what torch computes alike, and whether corners are aligned
RESIZES: dict[tuple[str, str], tuple[str, bool | None]] = {
    ("nearest", "asymmetric"): ("nearest", None),
    ("linear", "half_pixel"): ("bilinear", False),
    ("linear", "pytorch_half_pixel"): ("bilinear", False),
    ("linear", "align_corners"): ("bilinear", True),
    ("cubic", "half_pixel"): ("bicubic", False),
    ("cubic", "pytorch_half_pixel"): ("bicubic", False),
    ("cubic", "align_corners"): ("bicubic", True),
}


def _split(x: Tensor, sizes: Tensor | None = None, axis: int = 0) -> tuple[Tensor, ...]:
    if sizes is None:
        raise TypeError("Split without sizes: the number of parts is that of its outputs, which is not known here")
    return tuple(x.split(sizes.tolist(), dim=axis))


def _pool(
    x: Tensor,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    *,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
    storage_order: int = 0,
    auto_pad: str = "NOTSET",
) -> Tensor:
    if storage_order or auto_pad != "NOTSET":
        raise TypeError(f"MaxPool with storage_order {storage_order} and auto_pad {auto_pad} is not supported")
    around = pads or [0, 0, 0, 0]
    if around[:2] != around[2:]:
        x, around = functional.pad(x, (around[1], around[3], around[0], around[2]), value=-torch.inf), [0, 0]
    return functional.max_pool2d(x, kernel_shape, strides or 1, around[:2], dilations or 1, ceil_mode=bool(ceil_mode))


def _mean_pool(
    x: Tensor,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    *,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    auto_pad: str = "NOTSET",
) -> Tensor:
    around = pads or [0, 0, 0, 0]
    if auto_pad != "NOTSET" or around[:2] != around[2:]:
        raise TypeError(f"AveragePool with auto_pad {auto_pad} and pads {around} is not supported")
    return functional.avg_pool2d(x, kernel_shape, strides or 1, around[:2], bool(ceil_mode), bool(count_include_pad))


def _resize(
    x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None, **given: Any
) -> Tensor:
    del roi  # of a mode that is not supported
    key = (given.get("mode", "nearest"), given.get("coordinate_transformation_mode", "half_pixel"))
    floors = key[0] != "nearest" or given.get("nearest_mode", "round_prefer_floor") == "floor"
    if key not in RESIZES or not floors:
        raise TypeError(f"Resize with {' and '.join(key)} is not supported")
    if key[0] == "cubic" and abs(float(given.get("cubic_coeff_a", -0.75)) + 0.75) > 1e-6:
        raise TypeError("Resize: torch's cubic_coeff_a is -0.75")
    mode, corners = RESIZES[key]
    options: dict[str, Any] = {"mode": mode, "align_corners": corners}
    if sizes is not None and len(sizes):
        return functional.interpolate(x, size=sizes.tolist()[2:], **options)
    assert scales is not None, "ONNX gives scales or sizes"  # noqa: S101
    return functional.interpolate(x, scale_factor=scales.tolist()[2:], **options)


def _grid_sample(
    x: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: int = 0
) -> Tensor:
    return functional.grid_sample(x, grid, GRID_MODES[mode], padding_mode, bool(align_corners))


def _pad(
    x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None, mode: str = "constant"
) -> Tensor:
    if axes is not None or mode != "constant":
        raise TypeError(f"Pad with mode {mode} and axes {axes} is not supported")
    around = pads.tolist()
    pairs = [(around[axis], around[axis + x.ndim]) for axis in reversed(range(x.ndim))]
    return functional.pad(x, [side for pair in pairs for side in pair], value=0.0 if value is None else float(value))


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else torch.clamp(x, low, high)


def _range(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _gather_elements(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    if batch_dims:
        raise TypeError("GatherND with batch_dims is not supported")
    found: Tensor = x[tuple(indices.unbind(-1))]
    return found


def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, reduction: str = "none") -> Tensor:
    if reduction != "none":
        raise TypeError(f"ScatterND with reduction {reduction} is not supported")
    return x.index_put(tuple(indices.unbind(-1)), updates)


def _batch_norm(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float = 1e-5, **given: Any
) -> Tensor:
    if given.get("training_mode", 0):
        raise TypeError("BatchNormalization in training mode is not supported")
    return functional.batch_norm(x, mean, var, scale, bias, eps=epsilon)


def _extreme(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def fold(*values: Tensor) -> Tensor:
        found = values[0]
        for value in values[1:]:
            found = function(found, value)
        return found

    return fold


def _reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Sequence[int] | None = None, keepdims: int = 1) -> Tensor:
        over = list(range(x.ndim)) if axes is None else list(axes)
        return function(x, dim=over, keepdim=bool(keepdims))

    return reduce


VISION: dict[str, Callable[..., Any]] = {
    "And": torch.logical_and,
    "AveragePool": _mean_pool,
    "BatchNormalization": _batch_norm,
    "Ceil": torch.ceil,
    "Clip": _clip,
    "Cos": torch.cos,
    "CumSum": lambda x, axis: torch.cumsum(x, int(axis)),
    "Einsum": lambda *parts, equation: torch.einsum(equation, *parts),
    "Floor": torch.floor,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "GridSample": _grid_sample,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: torch.clamp(alpha * x + beta, 0, 1),
    "LeakyRelu": lambda x, alpha=0.01: functional.leaky_relu(x, alpha),
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "Max": _extreme(torch.maximum),
    "MaxPool": _pool,
    "Min": _extreme(torch.minimum),
    "Mod": lambda a, b, fmod=0: torch.fmod(a, b) if fmod else torch.remainder(a, b),
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Pad": _pad,
    "Range": _range,
    "ReduceMin": _reduced(torch.amin),
    "ReduceProd": lambda x, axes=(0,), keepdims=1: x.prod(axes[0], keepdim=bool(keepdims)),
    "Resize": _resize,
    "Round": torch.round,
    "ScatterND": _scatter_nd,
    "Sin": torch.sin,
    "Softplus": functional.softplus,
    "Split": _split,
    "Tile": lambda x, repeats: x.tile(repeats.tolist()),
}
