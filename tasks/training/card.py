"""Trainings on a graphics card: precision, copies, and how many pictures fit at once.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

# pictures of the two trial passes that memory is measured with
TRIALS = (1, 3)
TOO_MUCH = 1 << 60  # bytes, of a pass that does not fit
# bytes of AdamW's two moments for each weight, which the first step allocates
MOMENTS = 8
Sample = TypeVar("Sample")


class Weighed(Protocol):
    """A trainee whose loss of a batch can be put together from those of its parts."""

    def weight(self, targets: list[Any]) -> float:
        """Give what the loss of these pictures is divided by: losses times weights of parts add up to the batch's."""
        ...


def has_bfloat16(where: torch.device) -> bool:
    """Whether a card computes in bfloat16 by itself; False for a processor."""
    return where.type == "cuda" and bool(torch.cuda.is_bf16_supported(including_emulation=False))


def to_device(tensor: torch.Tensor, where: torch.device) -> torch.Tensor:
    """Move a tensor; the copy to a card runs beside what the processor does next."""
    return tensor.pin_memory().to(where, non_blocking=True) if where.type == "cuda" else tensor.to(where)


@contextmanager
def tf32(enabled: bool) -> Iterator[None]:
    """Let products in float32 round their factors to 10 bits within, where a card is faster so."""
    before = torch.get_float32_matmul_precision()
    if enabled:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def divided(
    trainee: Weighed, target: Callable[[Sample], Any], most: int, batch: Sequence[Sample]
) -> list[tuple[float, Sequence[Sample]]]:
    """Divide a batch into parts of nearly the same size, each with its share of the loss.

    Args:
        trainee: says what its losses are divided by.
        target: of a sample.
        most: samples of a part.
        batch: all samples of a step.
    """
    count = -(-len(batch) // most)
    ends = [len(batch) * number // count for number in range(count + 1)]
    parts = [batch[start:end] for start, end in pairwise(ends)]
    whole = trainee.weight([target(sample) for sample in batch])
    return [(trainee.weight([target(sample) for sample in part]) / whole, part) for part in parts]


def fitting(peak: Callable[[int], int], most: int, limit: int) -> int:
    """Give how many pictures fit: memory is what is there without any, and as much again for each of them.

    Args:
        peak: bytes of a pass with so many pictures, measured.
        most: pictures of a batch.
        limit: bytes that there are.

    Returns:
        At least 1, whatever the limit: whether one fits is seen when it is tried.
    """
    few, more = TRIALS
    if most <= more:
        return most
    first, second = peak(few), peak(more)
    each = max(1.0, (second - first) / (more - few))
    return int(max(1, min(most, few + (limit - first) // each)))


def free_bytes(model: nn.Module, share: float) -> int:
    """Bytes of the card that the passes of a training may take, its weights and what lies there already included."""
    free, _ = torch.cuda.mem_get_info()
    trained: int = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return int(share * (free + torch.cuda.memory_reserved())) - MOMENTS * trained


def measured_peak(model: nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Bytes that one pass forward and back reserves on the card; weights and running statistics stay as they are."""
    kept = [buffer.clone() for buffer in model.buffers()]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model.train()
    try:
        loss().backward()
        torch.cuda.synchronize()
        peak = int(torch.cuda.max_memory_reserved())
    except torch.OutOfMemoryError:
        peak = TOO_MUCH
    model.zero_grad()
    for buffer, before in zip(model.buffers(), kept, strict=True):
        buffer.copy_(before)
    return peak
