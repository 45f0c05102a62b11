"""From float weights to AutoAWQ's packed ones: the inverse of `cascade.vlm.awq.dequantize`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.vlm.awq import BITS, PARTS, PER_WORD, PLACES
from tasks.awq.backend import QuantizeError

if TYPE_CHECKING:
    import torch

MOST = (1 << BITS) - 1
SMALLEST = 1e-5


def pack(weight: torch.Tensor, group: int) -> dict[str, torch.Tensor]:
    """Round a weight to 4 bits, each group of input channels on a grid of its own.

    Args:
        weight: (out, in) of a linear layer.
        group: input channels that share a scale and a zero point.

    Returns:
        `qweight`, `qzeros` and `scales`; shapes see `cascade.vlm.awq.dequantize`.

    Raises:
        QuantizeError: the shape does not divide by group and words, or a weight is no number.
    """
    import torch

    rows, channels = weight.shape
    if channels % group or rows % PER_WORD:
        raise QuantizeError(f"a weight of {rows} x {channels} has no groups of {group}; see quantize.group_size")
    pieces = weight.float().view(rows, channels // group, group)
    if not bool(torch.isfinite(pieces).all()):
        raise QuantizeError("a weight is no number")
    # zero lies within every grid, so that the zero point does
    low, high = pieces.amin(dim=2).clamp(max=0), pieces.amax(dim=2).clamp(min=0)
    scales = ((high - low).clamp(min=SMALLEST) / MOST).half()
    step = scales.float()
    zeros = (-low / step).round().clamp(0, MOST)
    values = ((pieces / step.unsqueeze(2)).round() + zeros.unsqueeze(2)).clamp(0, MOST).view(rows, channels)
    packed = (_words(values.t()), _words(zeros.t()), scales.t().contiguous())
    return dict(zip(PARTS, packed, strict=True))


def _words(values: torch.Tensor) -> torch.Tensor:
    """Eight columns to an int32."""
    import torch

    shifts = torch.tensor([place * BITS for place in PLACES], dtype=torch.int64, device=values.device)
    words = (values.to(torch.int64).reshape(values.shape[0], -1, PER_WORD) << shifts).sum(dim=2)
    # the highest bit is a sign to torch
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32).contiguous()
