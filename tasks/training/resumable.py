"""Training for hours: seeded, with a bar, and able to go on after a kill as if nothing had happened.

The state after step k depends on the pictures, the parameters and k alone: samples are a function of their number, and
the random generator is set before each step. Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from tasks.config.learn import TrainingParams
from tasks.training.averaging import moving_average
from tasks.training.checkpoint import load_checkpoint, save_checkpoint, trained_tensors
from tasks.training.feature_cache import FeatureCache
from tasks.training.finite import refuse_weights
from tasks.training.loop import Trainer
from tasks.training.schedule import decayed_adamw, warm_up_and_cosine

SAVE_EVERY = 100  # steps: what a kill can cost
Sample = tuple[tuple[int, int], Any]


class Trainee(Protocol):
    """What a training needs of a module; both detectors and the adapted backbone are such.

    Attributes:
        size: px a side of its pictures.
        frozen: layers whose output may be cached; None where there are none.
    """

    size: int
    frozen: nn.Module | None

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run what is not trained on uint8 (n, size, size, 3)."""
        ...

    def loss(self, prepared: torch.Tensor, targets: list[Any]) -> torch.Tensor:
        """Give the mean loss of a batch."""
        ...


class SampleSource(Protocol):
    """What a training needs of its samples; a `ShuffledSampler` that can be called is such."""

    def key(self, index: int) -> tuple[int, int]:
        """Which picture, and which of its views, sample `index` is."""
        ...

    def __call__(self, index: int) -> Any:
        """Make sample `index`; its `pixels` are uint8 RGB (size, size, 3)."""
        ...


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        steps: in all, including those before a resume.
        batch_size: samples a step.
        learning_rate: the peak of a cosine after a short warm-up.
        seed: of the random generator.
        fingerprint: names all that the training depends on; a checkpoint of another one is not gone on with.
        params: section `training`.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    fingerprint: str
    params: TrainingParams


def train(
    trainee: Any,
    samples: SampleSource,
    plan: TrainingPlan,
    checkpoint: Path,
    target: Callable[[Any], Any],
    cache: FeatureCache | None = None,
) -> dict[str, torch.Tensor]:
    """Train, or go on with the checkpoint.

    Args:
        trainee: a `Trainee`, on the device to train on.
        samples: what to show.
        plan: how.
        checkpoint: a safetensors file, written every hundred steps and at the end.
        target: turns a sample into what the loss compares with; it can be moved `.to` a device.
        cache: feature maps of frozen layers.

    Returns:
        The averaged weights (exponential moving average) of what was trained; the trainee keeps the raw ones.

    Raises:
        NonFiniteError: see `tasks.training.loop.Trainer.run`; the checkpoint stays as it was.
    """
    torch.manual_seed(plan.seed)
    trainer, done = _trainer(trainee, plan, checkpoint)
    with tqdm(total=plan.steps, initial=done, desc=checkpoint.parent.name, unit="step") as bar:

        def after(step: int, loss: float) -> None:
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
                # a checkpoint that cannot be gone on with must not take the place of one that can
                refuse_weights(trainee, step)
                save_checkpoint(checkpoint, trainer, step + 1, plan.fingerprint)

        loss = partial(_loss, trainee, target, cache)
        trainer.run(_batches(samples, plan, done), loss, after)
    return trained_tensors(trainer.average.module)


def _trainer(trainee: Any, plan: TrainingPlan, checkpoint: Path) -> tuple[Trainer, int]:
    """What trains, in the state of the checkpoint, and the steps that are done."""
    params, rate = plan.params, plan.learning_rate
    optimizer = decayed_adamw(trainee, rate, params.weight_decay)
    average = moving_average(trainee, params.ema_decay, params.ema_warm_up)
    done = load_checkpoint(checkpoint, trainee, average, optimizer, plan.fingerprint)
    schedule = warm_up_and_cosine(optimizer, rate, plan.steps, params, done)
    trainer = Trainer(
        trainee, optimizer, schedule, average, lambda _: True, max_gradient=params.max_gradient, seed=plan.seed
    )
    return trainer, done


def _loss(trainee: Any, target: Callable[[Any], Any], cache: FeatureCache | None, batch: list[Sample]) -> torch.Tensor:
    where = next(trainee.parameters()).device
    prepared = prepare(trainee, batch, cache).to(where)
    loss: torch.Tensor = trainee.loss(prepared, [target(sample).to(where) for _, sample in batch])
    return loss


def prepare(trainee: Any, batch: list[Sample], cache: FeatureCache | None) -> torch.Tensor:
    """Give what the trained part takes in: from the cache where it is there, and into it where it was not."""

    def compute(rows: list[int]) -> torch.Tensor:
        pixels = torch.stack([torch.tensor(batch[row][1].pixels) for row in rows])
        return trainee.prepare(pixels.to(next(trainee.parameters()).device))

    if cache is None or trainee.frozen is None:
        return compute(list(range(len(batch))))
    return cache.get([key for key, _ in batch], compute)


def _batches(samples: SampleSource, plan: TrainingPlan, done: int) -> Iterator[tuple[int, list[Sample]]]:
    """Batches from step `done` on; the next one is made while the network works on this one."""

    def make(step: int) -> list[Sample]:
        numbers = range(step * plan.batch_size, (step + 1) * plan.batch_size)
        return [(samples.key(number), samples(number)) for number in numbers]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(make, done) if done < plan.steps else None
        for step in range(done, plan.steps):
            assert pending is not None  # noqa: S101  # for mypy: there is a step, so there is a batch
            batch = pending.result()
            pending = pool.submit(make, step + 1) if step + 1 < plan.steps else None
            yield step, batch
