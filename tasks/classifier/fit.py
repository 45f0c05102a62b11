"""The training of a head on frozen features: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from tasks.classifier.head import Head, HeadShape, make_head
from tasks.classifier.losses import head_loss
from tasks.config.learn import TrainParams
from tasks.data.feature_store import SplitFeatures
from tasks.training.averaging import mean_of_updates
from tasks.training.balance import Balance
from tasks.training.loop import Trainer


@dataclass(frozen=True)
class Examples:
    """Features of training views.

    Attributes:
        x: (n, width), float32, or float16 for whole tokens.
        y: labels, float32 (n,), 0 or 1.
        cover: share of each patch under a box, float32 (n, patches); None where none is known.
        weight: of each view in the loss, float32 (n,): see `tasks.training.balance`.
    """

    x: torch.Tensor
    y: torch.Tensor
    cover: torch.Tensor | None
    weight: torch.Tensor

    @classmethod
    def of(cls, split: SplitFeatures, balance: Balance) -> Examples:
        """All views of a split, one after the other, weighted for prior and sources."""
        x = torch.from_numpy(split.x.reshape(-1, split.x.shape[-1]))
        y = torch.from_numpy(np.repeat(split.label, split.x.shape[1])).float()
        cover = None if split.cover is None else torch.from_numpy(split.cover.reshape(len(x), -1)).float()
        weight = np.repeat(balance.of(split.label, split.source), split.x.shape[1])
        return cls(x, y, cover, torch.from_numpy(weight).float())


def fit_head(
    train: SplitFeatures,
    params: TrainParams,
    progress: Callable[[float], None],
    channels: int = 1,
    start: Head | None = None,
    *,
    balance: Balance,
    raw: Callable[[Head], object] | None = None,
) -> Head:
    """Train a head; its weights are the mean over the ends of the last `params.average` epochs.

    The schedule ends near a rate of zero, so the last epochs are the best ones and differ by noise, which the mean
    takes out (Izmailov et al. 2018, stochastic weight averaging). No pictures are needed to choose an epoch: the whole
    calibration split is left for what is fitted afterwards. With fixed seeds and `params.threads` the same features
    give the same bytes.

    Args:
        train: features of the training split.
        params: section `train`.
        progress: is told each epoch's mean loss.
        channels: numbers a token, for the conv head.
        start: a trained head of the same shape to go on with; None begins with random weights.
        balance: how much each picture counts.
        raw: is shown the head with the weights of the last step, before their mean takes their place.

    Returns:
        The head in evaluation mode.

    Raises:
        NonFiniteError: see `tasks.training.loop.Trainer.run`.
    """
    _make_repeatable(params)
    examples = Examples.of(train, balance)
    head = start or _random_head(examples.x, params, channels)
    steps = -(-len(examples.x) // params.batch_size)
    optimizer = torch.optim.AdamW(head.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, total_steps=params.epochs * steps)
    ends = {epoch * steps - 1 for epoch in range(params.epochs - params.average + 1, params.epochs + 1)}
    trainer = Trainer(head, optimizer, schedule, mean_of_updates(head), averages=ends.__contains__)
    losses: list[float] = []

    def after(step: int, loss: float) -> None:
        losses.append(loss)
        if (step + 1) % steps == 0:
            progress(float(np.mean(losses[-steps:])))

    trainer.run(_shuffled_rows(len(examples.x), params), lambda rows: _loss(head, examples, rows, params), after)
    if raw is not None:
        raw(head)
    head.load_state_dict(trainer.average.module.state_dict())
    head.eval()
    return head


def _make_repeatable(params: TrainParams) -> None:
    """Set seed, threads and deterministic kernels of this process."""
    torch.manual_seed(params.seed)
    torch.set_num_threads(params.threads)
    # as torch.use_deterministic_algorithms, which imports a compiler (5 s) to configure it too
    torch.set_deterministic_debug_mode("error")
    # nothing here is read before it is written, and filling it first takes a tenth of the time
    torch.utils.deterministic.fill_uninitialized_memory = False


def _random_head(x: torch.Tensor, params: TrainParams, channels: int) -> Head:
    head = make_head(HeadShape.of_params(params, x.shape[1], channels), params)
    head.standardize(x, params.scale_views)
    return head


def _shuffled_rows(count: int, params: TrainParams) -> Iterator[tuple[int, torch.Tensor]]:
    """Rows of the examples in a new order each epoch, by batches, with the number of the step."""
    step = 0
    for _ in range(params.epochs):
        # drawn when it is asked for: the order of an epoch follows the dropouts of the one before
        for rows in torch.randperm(count).split(params.batch_size):
            yield step, rows
            step += 1


def _loss(head: Head, examples: Examples, rows: torch.Tensor, params: TrainParams) -> torch.Tensor:
    cover = None if examples.cover is None else examples.cover[rows]
    return head_loss(head, examples.x[rows], examples.y[rows], cover, params, examples.weight[rows])
