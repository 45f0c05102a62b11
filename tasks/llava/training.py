"""The two phases of training the projector, killed and gone on with at will; torch at the top, see projector.py."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from tasks.common.files import sha256_file, write_bytes
from tasks.data.schema import split_file
from tasks.llava.assemble import build
from tasks.llava.projector import CELLS, Learner, ProjectorDataset, some_patches

if TYPE_CHECKING:
    from tasks.config import VlmParams

SAVE_EVERY = 20
WARMUP, LEAST = 10, 0.05
CLIP = 1.0
WEIGHT_DECAY = 0.02
ALIGN_BATCH, REPLAY = 16, 6  # features are dear and the projector is cheap: each batch of them is learned from often
MOMENTS = ("exp_avg", "exp_avg_sq")


class ProjectorRun:
    """The projector, its optimizer and the step it is at, kept on disk in safetensors."""

    def __init__(self, learner: Learner, file: Path, fingerprint: str, rate: float, steps: int) -> None:
        self.learner, self.step, self._file, self._fingerprint = learner, 0, file, fingerprint
        self._rate, self._steps = rate, steps
        self._weights = dict(learner.projector.named_parameters())
        self._optimizer = torch.optim.AdamW(self._weights.values(), lr=rate, weight_decay=WEIGHT_DECAY)
        self._restore()

    def apply(self, loss: torch.Tensor) -> None:
        """One update, at the rate of its step: a short rise, then half a cosine down."""
        share = self.step / self._steps
        rate = min(1.0, (self.step + 1) / WARMUP) * (LEAST + (1 - LEAST) * (1 + math.cos(math.pi * share)) / 2)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rate
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights.values(), CLIP)
        self._optimizer.step()

    def count(self) -> None:
        """End a step, and keep everything now and then."""
        self.step += 1
        if self.step % SAVE_EVERY == 0 or self.step == self._steps:
            self._keep()

    def _keep(self) -> None:
        tensors = dict(self._weights)
        for name, weight in self._weights.items():
            moments = self._optimizer.state.get(weight, {})
            tensors |= {f"{kind}.{name}": moments[kind] for kind in MOMENTS if kind in moments}
            self._updates = int(moments.get("step", 0))
        about = {"fingerprint": self._fingerprint, "step": str(self.step), "updates": str(self._updates)}
        write_bytes(self._file, save({k: v.detach().contiguous() for k, v in tensors.items()}, metadata=about))

    def _restore(self) -> None:
        try:
            with safe_open(self._file, framework="pt") as file:
                about = file.metadata() or {}
                if about.get("fingerprint") != self._fingerprint:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError):
            return
        for name, weight in self._weights.items():
            weight.data.copy_(tensors[name])
            if f"{MOMENTS[0]}.{name}" in tensors:
                moments: dict[str, Any] = {kind: tensors[f"{kind}.{name}"] for kind in MOMENTS}
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
    learner = Learner(*build(backbone), params)
    split = split_file(pulled, "train")
    pictures = ProjectorDataset(split, params.training.seed)
    inputs = [sha256_file(split), sha256_file(backbone / "model.safetensors")]
    training = params.training
    first = _fingerprint(inputs, training.align_steps, training.align_rate, training.seed)
    _align(learner, pictures, params, state / "align.safetensors", first)
    both = _fingerprint(inputs, training.model_dump(), params.prompt)
    _tune(learner, pictures, params, state / "tune.safetensors", both)
    weights = {name: value.detach().contiguous() for name, value in learner.projector.state_dict().items()}
    return bytes(save(weights))


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _align(learner: Learner, pictures: ProjectorDataset, params: VlmParams, file: Path, fingerprint: str) -> None:
    """Words for patches, without the language model; a run that is killed here begins the phase anew."""
    training = params.training
    run = ProjectorRun(learner, file, fingerprint, training.align_rate, training.align_steps)
    if run.step:
        return
    random = np.random.default_rng(training.seed)
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for step in tqdm(range(training.align_steps), desc="align", unit="step"):
        shots = pictures.batch(step, ALIGN_BATCH)
        label = torch.tensor([shot.label for shot in shots])
        cover = torch.from_numpy(np.stack([shot.cover for shot in shots]))
        seen.append((learner.features(shots).half(), label, cover))
        for index in [step, *random.integers(0, len(seen), size=REPLAY - 1)]:
            features, label, cover = seen[index]
            run.apply(learner.align_loss(features.float(), label, cover))
        run.step += 1
    run._keep()


def _tune(learner: Learner, pictures: ProjectorDataset, params: VlmParams, file: Path, fingerprint: str) -> None:
    """The whole model and its answer: `steps` with a part of the patches, then `full_steps` with all of them."""
    training = params.training
    total = training.steps + training.full_steps
    run = ProjectorRun(learner, file, fingerprint, training.learning_rate, max(total, 1))
    # the views go on where the first phase ended
    first = -(-training.align_steps * ALIGN_BATCH // training.batch_size)
    with tqdm(total=total, initial=run.step, desc="tune", unit="step") as bar:
        while run.step < total:
            shots = pictures.batch(first + run.step, training.batch_size)
            label = torch.tensor([shot.label for shot in shots])
            cover = torch.from_numpy(np.stack([shot.cover for shot in shots]))
            kept = training.kept_patches if run.step < training.steps else CELLS**2
            features = learner.features(shots)
            keep = some_patches(len(shots), kept, [training.seed, run.step])
            loss = learner.answer_loss(learner.answer(features, keep), label)
            run.apply(loss + training.align_weight * learner.align_loss(features, label, cover))
            run.count()
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
            bar.update()
