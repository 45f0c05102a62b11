"""The optimizer and the learning rate of trainings that can be stopped.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from tasks.config.learn import TrainingParams
from tasks.training.loop import trained_weights


def decayed_adamw(model: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """Give AdamW (Loshchilov and Hutter 2019) for the weights that are trained; biases and norms are not decayed."""
    matrices = [weight for weight in trained_weights(model) if weight.ndim > 1]
    vectors = [weight for weight in trained_weights(model) if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999))


def warm_up_and_cosine(
    optimizer: torch.optim.Optimizer, rate: float, steps: int, params: TrainingParams, done: int = 0
) -> LambdaLR:
    """Give the schedule of a training of `steps` steps of which `done` are done.

    Args:
        optimizer: whose rate is set.
        rate: the peak.
        steps: in all.
        params: section `training`.
        done: steps that a checkpoint has behind it.
    """
    for group in optimizer.param_groups:
        group["initial_lr"] = rate
    return LambdaLR(optimizer, lambda step: share_of_peak(step, steps, params), last_epoch=done - 1)


def share_of_peak(step: int, steps: int, params: TrainingParams) -> float:
    """Share of the peak rate at a step: a linear warm-up, then half a cosine down to `params.final_rate`."""
    warm = max(1, round(params.warm_up * steps))
    if step < warm:
        return (step + 1) / warm
    last = params.final_rate
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
