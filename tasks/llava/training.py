"""The two phases of training the projector, killed and gone on with at will; torch at the top, see projector.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from tasks.classifier.encoder import device
from tasks.common.cache_key import cache_key
from tasks.common.files import write_bytes
from tasks.common.imports import ROOT
from tasks.data.schema import split_file
from tasks.llava.assemble import build
from tasks.llava.projector import CELLS, Learner, ProjectorDataset, ProjectorSample, some_patches

if TYPE_CHECKING:
    from tasks.config import VlmParams
    from tasks.config.vlm import ProjectorTrainingParams

SAVE_EVERY = 20  # steps
MOMENTS = ("exp_avg", "exp_avg_sq")
# parameters that the first phase does not depend on
TUNE_ONLY = {"steps", "full_steps", "batch_size", "kept_patches", "learning_rate", "align_weight"}


@dataclass(frozen=True)
class Phase:
    """One phase of the training.

    Attributes:
        rate: peak of the learning rate.
        steps: of it.
        file: safetensors, where a killed run finds what it had.
        key: of all that the phase depends on; a file of another key is passed over.
    """

    rate: float
    steps: int
    file: Path
    key: str


class ProjectorRun:
    """The projector, its optimizer and the step it is at, kept on disk in safetensors.

    Args:
        learner: with the projector.
        phase: which one.
        params: key `vlm.training`.
    """

    def __init__(self, learner: Learner, phase: Phase, params: ProjectorTrainingParams) -> None:
        self.learner, self.step, self._phase, self._params = learner, 0, phase, params
        self._weights = dict(learner.projector.named_parameters())
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=phase.rate, weight_decay=params.weight_decay)
        self._restore()

    def apply(self, loss: torch.Tensor) -> None:
        """One update, at the rate of its step: a linear rise, then half a cosine down."""
        least = self._params.least_rate
        cosine = least + (1 - least) * (1 + math.cos(math.pi * self.step / self._phase.steps)) / 2
        for group in self._optimizer.param_groups:
            group["lr"] = self._phase.rate * (min(1.0, (self.step + 1) / self._params.warmup) * cosine)
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), self._params.clip_norm)
        self._optimizer.step()

    def count(self) -> None:
        """End a step, and write everything to disk every `SAVE_EVERY` steps."""
        self.step += 1
        if self.step % SAVE_EVERY == 0 or self.step == self._phase.steps:
            self.keep()

    def keep(self) -> None:
        """Write everything to disk."""
        tensors = dict(self._weights)
        for name, weight in self._weights.items():
            moments = self._optimizer.state.get(weight, {})
            tensors |= {f"{kind}.{name}": moments[kind] for kind in MOMENTS if kind in moments}
            self._updates = int(moments.get("step", 0))
        about = {"key": self._phase.key, "step": str(self.step), "updates": str(self._updates)}
        write_bytes(self._phase.file, save({k: v.detach().contiguous() for k, v in tensors.items()}, metadata=about))

    def _restore(self) -> None:
        try:
            with safe_open(self._phase.file, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("key") != self._phase.key:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError):
            return
        for name, weight in self._weights.items():
            weight.data.copy_(tensors[name])
            if f"{MOMENTS[0]}.{name}" in tensors:
                moments: dict[str, Any] = {kind: tensors[f"{kind}.{name}"].to(weight.device) for kind in MOMENTS}
                self._optimizer.state[weight] = {"step": torch.tensor(float(about["updates"])), **moments}
        self.step = int(about["step"])


def fit(params: VlmParams, pulled: Path, backbone: Path, state: Path) -> bytes:
    """Train the projector on the training split.

    Args:
        params: section `vlm`.
        pulled: data folder.
        backbone: the tower.
        state: folder for what a killed run leaves to the next one.

    Returns:
        The projector as a safetensors file, float32.
    """
    torch.set_num_threads(params.threads)
    model, processor = build(backbone)
    learner = Learner(model.to(device()), processor, params)
    split = split_file(pulled, "train")
    pictures = ProjectorDataset(split, params.training.seed)
    inputs = {"train": split, "tower": backbone / "model.safetensors"}
    align, tune = phases(params, inputs, state)
    _align(learner, pictures, params.training, align)
    _tune(learner, pictures, params.training, tune)
    weights = {name: value.detach().contiguous() for name, value in learner.projector.state_dict().items()}
    return bytes(save(weights))


def phases(params: VlmParams, inputs: Mapping[str, Path], state: Path, code: Path = ROOT) -> tuple[Phase, Phase]:
    """Both phases, each with the key of its inputs, parameters and code; the first does not depend on all parameters.

    Args:
        params: section `vlm`.
        inputs: files by name.
        state: folder of what a killed run leaves.
        code: folder that holds the packages.
    """
    given = params.training
    first = given.model_dump(exclude=TUNE_ONLY)
    keys = [
        cache_key([__name__], inputs=inputs, params=values, root=code).digest
        for values in (first, {"training": given, "prompt": params.prompt})
    ]
    return (
        Phase(given.align_rate, given.align_steps, state / "align.safetensors", keys[0]),
        Phase(given.learning_rate, max(given.steps + given.full_steps, 1), state / "tune.safetensors", keys[1]),
    )


def _align(learner: Learner, pictures: ProjectorDataset, training: ProjectorTrainingParams, phase: Phase) -> None:
    """Embeddings of patches, without the language model; a run that is killed here begins the phase anew."""
    run = ProjectorRun(learner, phase, training)
    if run.step:
        return
    random = np.random.default_rng(training.seed)
    known: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for step in tqdm(range(training.align_steps), desc="align", unit="step"):
        samples = pictures.batch(step, training.align_batch)
        known.append((learner.features(samples).half(), *targets(samples, learner.device)))
        # features cost much and the projector little, so that each batch of them is learned from several times
        for index in [step, *random.integers(0, len(known), size=training.align_updates - 1)]:
            features, label, cover = known[index]
            run.apply(learner.align_loss(features.float(), label, cover))
        run.step += 1
    run.keep()


def _tune(learner: Learner, pictures: ProjectorDataset, training: ProjectorTrainingParams, phase: Phase) -> None:
    """The whole model and its answer: `steps` with a part of the patches, then `full_steps` with all of them."""
    total = training.steps + training.full_steps
    run = ProjectorRun(learner, phase, training)
    # the views go on where the first phase ended
    first = -(-training.align_steps * training.align_batch // training.batch_size)
    with tqdm(total=total, initial=run.step, desc="tune", unit="step") as bar:
        while run.step < total:
            samples = pictures.batch(first + run.step, training.batch_size)
            label, cover = targets(samples, learner.device)
            kept = training.kept_patches if run.step < training.steps else CELLS**2
            features = learner.features(samples)
            keep = some_patches(len(samples), kept, [training.seed, run.step])
            loss = learner.answer_loss(learner.answer(features, keep), label)
            run.apply(loss + training.align_weight * learner.align_loss(features, label, cover))
            run.count()
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
            bar.update()


def targets(samples: list[ProjectorSample], where: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels, (n,), and shares of every patch under boxes, (n, patches), on a device."""
    label = torch.tensor([sample.label for sample in samples], device=where)
    return label, torch.from_numpy(np.stack([sample.cover for sample in samples])).to(where)
