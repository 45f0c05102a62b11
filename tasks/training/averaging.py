"""Averaged weights as `torch.optim.swa_utils.AveragedModel`: a moving average, and a mean.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float, warm_up: int) -> AveragedModel:
    """Give an exponential moving average that begins with the weights as they are (Polyak and Juditsky 1992).

    `n` updates after the start the decay is min(decay, (1 + n) / (warm_up + n)), as in TensorFlow's
    ExponentialMovingAverage: the average follows faster at first, when the weights are still far from useful.

    Args:
        model: on its device; the average is a copy of it. Integers, as counts of batches, are copied.
        decay: of the weights before, in the end.
        warm_up: updates.
    """

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is not followed by mypy
    def update(average: list[Any], weights: list[Any], updates: Any) -> None:
        number = int(updates)
        keep = min(decay, (1 + number) / (warm_up + number))
        if average[0].is_floating_point():
            torch._foreach_lerp_(average, weights, 1 - keep)
        else:
            torch._foreach_copy_(average, weights)

    averaged = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    # at 0 the first update would put the weights in the place of the average
    averaged.n_averaged.fill_(1)
    return averaged


def mean_of_updates(model: nn.Module) -> AveragedModel:
    """Give the plain mean of the weights at each update (Izmailov et al. 2018, stochastic weight averaging)."""

    def mean(average: torch.Tensor, weights: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        return (average * updates + weights) / (updates + 1)

    return AveragedModel(model, avg_fn=mean, use_buffers=True)
