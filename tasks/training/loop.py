"""The one training loop: the classifier's head, the backbone's low-rank changes and both detectors go through it.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from tasks.training.finite import refuse_gradient, refuse_loss, refuse_weights

Batch = TypeVar("Batch")


@dataclass
class Trainer:
    """A model in training.

    Attributes:
        model: on the device to train on.
        optimizer: of its weights.
        schedule: of the learning rate, a step of it after each step of the optimizer.
        average: the averaged weights.
        averages: whether the weights after step `n`, counted from 0, go into the average.
        max_gradient: norm that gradients are cut to; None: they are not.
        seed: the random generator is set before each step from it and the step's number, so that the state after step
            `n` does not depend on where a training was stopped; None: it runs on.
        parts: divides a batch into those whose activations are in memory at once, each with its share of the loss; the
            gradients of the parts are summed up before the step. None: the batch goes through as a whole.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    average: AveragedModel
    averages: Callable[[int], bool]
    max_gradient: float | None = None
    seed: int | None = None
    parts: Callable[[Any], Sequence[tuple[float, Any]]] | None = None

    def run(
        self,
        batches: Iterable[tuple[int, Batch]],
        loss: Callable[[Batch], torch.Tensor],
        after: Callable[[int, float], Any],
    ) -> None:
        """Train on every batch.

        Args:
            batches: with the number of their step.
            loss: gives the mean loss of a batch, or of a part of it, a scalar.
            after: is told number and loss of each step when all of it is done.

        Raises:
            NonFiniteError: a loss, a gradient or a weight is NaN or infinite; no step is taken with it.
        """
        self.model.train()
        step = -1
        for step, batch in batches:
            if self.seed is not None:
                torch.manual_seed(self.seed * 1_000_003 + step)
            self.optimizer.zero_grad()
            value = sum(self._add_gradient(step, part, share, loss) for share, part in self._divided(batch))
            self._step(step)
            after(step, value)
        # no loss tells of what the last step did
        refuse_weights(self.model, step)

    def _divided(self, batch: Batch) -> Sequence[tuple[float, Batch]]:
        return [(1.0, batch)] if self.parts is None else self.parts(batch)

    def _add_gradient(self, step: int, part: Batch, share: float, loss: Callable[[Batch], torch.Tensor]) -> float:
        """Add a part's gradient to those of the step, and give what it adds to the loss."""
        state = torch.get_rng_state()
        value = loss(part)
        refuse_loss(self.model, step, value, partial(_once_more, loss, part, state))
        (share * value).backward()
        return share * float(value.detach())

    def _step(self, step: int) -> None:
        weights = trained_weights(self.model)
        norm = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        refuse_gradient(self.model, step, norm)
        if self.max_gradient is not None:
            # the two halves of `clip_grad_norm_`, which would make every gradient NaN before one could be named
            nn.utils.clip_grads_with_norm_(weights, self.max_gradient, norm)
        self.optimizer.step()
        self.schedule.step()
        if self.averages(step):
            self.average.update_parameters(self.model)


def _once_more(loss: Callable[[Batch], torch.Tensor], batch: Batch, state: torch.Tensor) -> torch.Tensor:
    """The same loss with the same dropouts (on a processor; a GPU draws its own)."""
    torch.set_rng_state(state)
    return loss(batch)


def trained_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of a model that are not frozen."""
    return [weight for weight in model.parameters() if weight.requires_grad]
