"""Training what fits `Trainee`: seeded, with a bar, and able to go on after a kill as if nothing had happened.

The state after step k depends on the pictures, the parameters and k alone: samples are a function of their number, and
the random generator is set before each step. Checkpoints are safetensors. Import this only where torch is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from tqdm import tqdm

from tasks.common.files import write_bytes
from tasks.training.feature_cache import FeatureCache

EMA_DECAY = 0.998
WARM_UP = 0.05
WEIGHT_DECAY = 0.01
MAX_GRADIENT = 5.0
SAVE_EVERY = 100


class Trainee(Protocol):
    """What the loop needs of a module; both detectors and the adapted backbone are such."""

    size: int
    frozen: nn.Module | None

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run what is not trained."""
        ...

    def loss(self, prepared: torch.Tensor, targets: list[Any]) -> torch.Tensor:
        """Give the batch's mean loss."""
        ...


class SampleSource(Protocol):
    """What the loop needs of samples; a `Shuffled` that can be called is such."""

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
        learning_rate: the peak of a cosine after a short warm-up.
        fingerprint: names pictures and parameters; a checkpoint of another one is not gone on with.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    fingerprint: str


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
        The averaged weights (exponential moving average) of what was trained.
    """
    torch.manual_seed(plan.seed)
    state = _State(trainee, plan)
    done = state.load(checkpoint)
    trainee.train()
    with tqdm(total=plan.steps, initial=done, desc=checkpoint.parent.name, unit="step") as bar:
        for step, batch in _batches(samples, plan, done):
            torch.manual_seed(plan.seed * 1_000_003 + step)
            loss = _step(trainee, state, batch, plan.learning_rate * _pace(step, plan.steps), cache, target)
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
                state.save(checkpoint, step + 1)
    return state.average


Batch = list[tuple[tuple[int, int], Any]]


def _step(
    trainee: Any,
    state: _State,
    batch: Batch,
    rate: float,
    cache: FeatureCache | None,
    target: Callable[[Any], Any],
) -> float:
    where = next(trainee.parameters()).device
    prepared = prepare(trainee, batch, cache)
    loss = trainee.loss(prepared.to(where), [target(sample).to(where) for _, sample in batch])
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.trained, MAX_GRADIENT)
    state.optimizer.step()
    state.update_average()
    return float(loss.detach())


def prepare(trainee: Any, batch: Batch, cache: FeatureCache | None) -> torch.Tensor:
    """Give what the trained part takes in: from the cache where it is there, and into it where it was not."""

    def compute(rows: list[int]) -> torch.Tensor:
        pixels = torch.stack([torch.tensor(batch[row][1].pixels) for row in rows])
        return trainee.prepare(pixels.to(next(trainee.parameters()).device))

    if cache is None or trainee.frozen is None:
        return compute(list(range(len(batch))))
    return cache.get([key for key, _ in batch], compute)


def _batches(samples: SampleSource, plan: TrainingPlan, done: int) -> Iterator[tuple[int, Batch]]:
    """Batches from step `done` on; the next one is made while the network works on this one."""

    def make(step: int) -> Batch:
        numbers = range(step * plan.batch_size, (step + 1) * plan.batch_size)
        return [(samples.key(number), samples(number)) for number in numbers]

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(make, done) if done < plan.steps else None
        for step in range(done, plan.steps):
            assert pending is not None  # noqa: S101  # for mypy: there is a step, so there is a batch
            batch = pending.result()
            pending = pool.submit(make, step + 1) if step + 1 < plan.steps else None
            yield step, batch


def _pace(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear warm-up, then half a cosine down to a hundredth."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class _State:
    """Weights, their average and the optimizer, and the one file that holds all three."""

    def __init__(self, trainee: Any, plan: TrainingPlan) -> None:
        self.trainee, self._plan = trainee, plan
        self.trained = [parameter for parameter in trainee.parameters() if parameter.requires_grad]
        # biases and norms are not decayed
        thick = [parameter for parameter in self.trained if parameter.ndim > 1]
        thin = [parameter for parameter in self.trained if parameter.ndim <= 1]
        groups = [{"params": thick, "weight_decay": WEIGHT_DECAY}, {"params": thin, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.999))
        self.average = {name: tensor.clone() for name, tensor in trained_tensors(trainee).items()}
        self._updates = 0

    def update_average(self) -> None:
        """Move the average towards the weights; faster at first, when the weights are still far from useful."""
        self._updates += 1
        keep = min(EMA_DECAY, (1 + self._updates) / (10 + self._updates))
        for name, tensor in trained_tensors(self.trainee).items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - keep)
            else:
                self.average[name].copy_(tensor)

    def save(self, path: Path, step: int) -> None:
        """Replace the checkpoint in one step."""
        from safetensors.torch import save

        tensors = {f"model.{name}": tensor for name, tensor in trained_tensors(self.trainee).items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        for number, slot in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in slot.items()}
        metadata = {"step": str(step), "updates": str(self._updates), "fingerprint": self._plan.fingerprint}
        write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))

    def load(self, path: Path) -> int:
        """Take up a checkpoint of the same plan; gives the steps that are done, 0 where there is none."""
        from safetensors import safe_open

        if not path.is_file():
            return 0
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            if metadata["fingerprint"] != self._plan.fingerprint:
                return 0
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        self.trainee.load_state_dict(_under(tensors, "model."), strict=False)
        self.average = {
            name: tensor.to(self.average[name].device) for name, tensor in _under(tensors, "average.").items()
        }
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer.").items():
            number, slot = name.split(".")
            slots.setdefault(int(number), {})[slot] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self._updates = int(metadata["updates"])
        return int(metadata["step"])


def trained_tensors(trainee: Any) -> dict[str, torch.Tensor]:
    """Weights and running statistics of what is trained: everything but the frozen layers."""
    state: dict[str, torch.Tensor] = trainee.state_dict()
    return {name: tensor.detach() for name, tensor in state.items() if not name.startswith("frozen.")}


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
