"""Training for hours: seeded, with a bar, and able to go on after a kill as if nothing had happened.

The state after step k depends on the pictures, the parameters and k alone: samples are a function of their number, and
the random generator is set before each step. Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from tasks.common.processes import in_order, worker_count
from tasks.config.detect import CardParams
from tasks.config.learn import TrainingParams
from tasks.training.averaging import moving_average
from tasks.training.card import TRIALS, divided, fitting, free_bytes, measured_peak, to_device
from tasks.training.checkpoint import load_checkpoint, save_checkpoint, trained_tensors
from tasks.training.feature_cache import FeatureCache
from tasks.training.finite import refuse_weights
from tasks.training.loop import Trainer
from tasks.training.schedule import decayed_adamw, warm_up_and_cosine

SAVE_EVERY = 100  # steps: what a kill can cost
NOT_IN_KEY = {"processes"}  # of section `training`: nothing that comes out depends on it
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
        card: section `detect.card`: what a training on a graphics card does with a batch that does not fit; None: each
            batch goes through as a whole. The trainee is then a `tasks.training.card.Weighed`.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    fingerprint: str
    params: TrainingParams
    card: CardParams | None = None


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
        trainer.parts = _parts(trainee, samples, plan, target, loss)
        workers = worker_count(plan.params.processes, on_card=next(trainee.parameters()).device.type == "cuda")
        trainer.run(_batches(samples, plan, done, workers), loss, after)
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


def _parts(
    trainee: Any, samples: SampleSource, plan: TrainingPlan, target: Callable[[Any], Any], loss: Callable[..., Any]
) -> Callable[[list[Sample]], Any] | None:
    """What divides a batch that is too large for the card; None where it fits, or there is no card."""
    if plan.card is None or next(trainee.parameters()).device.type != "cuda":
        return None
    most = plan.card.micro_batch
    if most == "auto":
        numbers = range(min(plan.batch_size, max(TRIALS)))
        shown = [(samples.key(number), samples(number)) for number in numbers]
        limit = free_bytes(trainee, plan.card.memory_share)
        most = fitting(lambda count: measured_peak(trainee, lambda: loss(shown[:count])), plan.batch_size, limit)
    if most >= plan.batch_size:
        return None
    print(f"of the {plan.batch_size} pictures of a step at most {most} are on the card at once", flush=True)
    return partial(divided, trainee, lambda sample: target(sample[1]), most)


def _loss(trainee: Any, target: Callable[[Any], Any], cache: FeatureCache | None, batch: list[Sample]) -> torch.Tensor:
    where = next(trainee.parameters()).device
    prepared = prepare(trainee, batch, cache).to(where)
    loss: torch.Tensor = trainee.loss(prepared, [target(sample).to(where) for _, sample in batch])
    return loss


def prepare(trainee: Any, batch: list[Sample], cache: FeatureCache | None) -> torch.Tensor:
    """Give what the trained part takes in: from the cache where it is there, and into it where it was not."""

    def compute(rows: list[int]) -> torch.Tensor:
        pixels = torch.stack([torch.tensor(batch[row][1].pixels) for row in rows])
        return trainee.prepare(to_device(pixels, next(trainee.parameters()).device))

    if cache is None or trainee.frozen is None:
        return compute(list(range(len(batch))))
    return cache.get([key for key, _ in batch], compute)


def _batches(samples: SampleSource, plan: TrainingPlan, done: int, workers: int) -> Iterator[tuple[int, list[Sample]]]:
    """Batches from step `done` on; the next ones are made while the network works on this one."""

    def make(step: int) -> list[Sample]:
        numbers = range(step * plan.batch_size, (step + 1) * plan.batch_size)
        return [(samples.key(number), samples(number)) for number in numbers]

    steps = range(done, plan.steps)
    yield from zip(steps, in_order(make, steps, workers), strict=True)
