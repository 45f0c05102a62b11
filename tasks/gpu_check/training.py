"""Steps of the project's own training loop on noise, timed. Import this only where torch is wanted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from tasks.config.learn import TrainingParams
from tasks.gpu_check.memory import Meter
from tasks.gpu_check.work import Figures, Work
from tasks.training.resumable import TrainingPlan, train

STEPS = 8
WARM_UP = 3  # steps, which allocate and choose kernels


@dataclass(frozen=True)
class Shown:
    """A picture, uint8 (size, size, 3), and what a loss compares with."""

    pixels: Any
    target: Any


class SamePictures:
    """A `SampleSource` that shows some pictures again and again, and notes when each is asked for by the loss."""

    def __init__(self, shown: Sequence[Shown]) -> None:
        self._shown = shown
        self.asked: list[float] = []

    def key(self, index: int) -> tuple[int, int]:
        """See `SampleSource.key`."""
        return index % len(self._shown), 0

    def __call__(self, index: int) -> Shown:
        """See `SampleSource`."""
        return self._shown[index % len(self._shown)]

    def target(self, sample: Shown) -> Any:
        """The target of a sample, for `train`."""
        self.asked.append(time.perf_counter())
        return sample.target


def train_steps(
    work: Work, trainee: Any, shown: Sequence[Shown], params: TrainingParams, *, rate: float, meter: Meter, load: float
) -> Figures:
    """Train some steps, with checkpoint and averaged weights as the stage has them.

    Args:
        work: the check's.
        trainee: on the device.
        shown: the pictures of a batch.
        params: section `training`.
        rate: learning rate, the peak of its cosine.
        meter: of memory.
        load: seconds that the model took to build.
    """
    source = SamePictures(shown)
    plan = TrainingPlan(STEPS, len(shown), rate, 0, "gpu-check", params)
    work.phase(f"training steps of {len(shown)} pictures")
    train(trainee, source, plan, work.folder / "training" / "checkpoint.safetensors", source.target)
    begun = source.asked[:: len(shown)][WARM_UP:]
    spent = [later - earlier for earlier, later in pairwise(begun)]
    precision = {parameter.dtype for parameter in trainee.parameters()}
    return Figures(
        precision="weights " + ", ".join(sorted(str(one).removeprefix("torch.") for one in precision)),
        million_parameters=millions(trainee),
        load_seconds=load,
        step_ms=1000 * median(spent),
        step_pictures=len(shown),
        peak_gib=meter.peak_gib(),
    )


def millions(module: torch.nn.Module) -> float:
    """Parameters of a module, in millions."""
    return float(round(sum(parameter.numel() for parameter in module.parameters()) / 1e6, 3))
