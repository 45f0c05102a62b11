"""The trained part of the classifier in torch: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tasks.classifier.losses import head_loss
from tasks.common.files import write_bytes
from tasks.config import TrainParams
from tasks.data.feature_store import SplitFeatures

HEAD_FILE = "head.safetensors"
TOP = 8  # patches whose mean score is one of the conv head's pooled features
CHUNK = 16
PART = 8
THREADS = 2
CHANNEL_DROPOUT = 0.1


class Head(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Standardize features, then one linear layer or a small MLP: (n, width) to logits (n,)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, kind: str, width: int, hidden: int) -> None:
        super().__init__()
        self._scale_buffers(width)
        layers = [nn.Linear(width, 1)]
        if kind == "mlp":
            layers = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, 1)]
        self.layers = nn.Sequential(*layers)

    def _scale_buffers(self, width: int) -> None:
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def measure(self, x: torch.Tensor) -> None:
        """Take mean and spread of the training features, (n, width)."""
        self.mean.copy_(x.float().mean(dim=0))
        self.std.copy_(x.float().std(dim=0).clamp_min(1e-6))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features to logits, not yet calibrated."""
        return self.both(features)[0]

    def both(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits of the pictures, (n,), and of their patches, (n, patches), where the head scores patches."""
        return self.layers((features.float() - self.mean) / self.std).squeeze(-1), None

    def logits(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Score features of shape (..., width), some at a time; gives (...)."""
        self.eval()
        flat = torch.from_numpy(x.reshape(-1, x.shape[-1]))
        with torch.inference_mode():
            parts = [self(part) for part in flat.split(CHUNK)]
        return torch.cat(parts).double().numpy().reshape(x.shape[:-1])  # type: ignore[no-any-return]


class ConvHead(Head):
    """Score every patch with its neighbours, and the picture by what the best patches hold.

    Works are small: on 16 x 16 patches a cone is one or two, and means over all of them drown it. Two convolutions give
    each patch `hidden` numbers and a score, which boxes teach where there are any; the picture's logit is linear in the
    patches' mean, their mean weighted by score (attention pooling, Ilse et al. 2018), the class token and the mean of
    the `TOP` best scores.
    """

    def __init__(self, width: int, hidden: int, channels: int) -> None:
        nn.Module.__init__(self)
        self._scale_buffers(channels)
        self.channels, self.side = channels, round((width / channels - 1) ** 0.5)
        # a product on the tokens as they lie: a 1 x 1 convolution would have all of them copied into another order
        self.enter, self.mix = nn.Linear(channels, hidden), nn.Conv2d(hidden, hidden, 3, padding=1)
        self.score, self.answer = nn.Conv2d(hidden, 1, 1), nn.Linear(2 * hidden + channels + 1, 1)
        self.drop = nn.Dropout(0.3)

    def measure(self, x: torch.Tensor) -> None:
        """Take mean and spread of each channel over the tokens of some training views, (n, tokens * channels)."""
        tokens = x[:: max(1, len(x) // 256)].float().reshape(-1, self.channels)
        self.mean.copy_(tokens.mean(dim=0))
        self.std.copy_(tokens.std(dim=0).clamp_min(1e-6))

    def both(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits of the pictures, (n,), and of their patches, (n, patches)."""
        tokens = features.reshape(-1, 1 + self.side**2, self.channels)
        hidden = functional.gelu(self._entered(tokens[:, 1:]))
        hidden = hidden.transpose(1, 2).reshape(-1, hidden.shape[-1], self.side, self.side)
        hidden = functional.gelu(self.mix(hidden)) + hidden
        patches = self.score(self.drop(hidden)).flatten(1)
        flat = hidden.flatten(2)
        attended = (flat * torch.softmax(patches, dim=1).unsqueeze(1)).sum(dim=2)
        best = patches.topk(TOP, dim=1).values.mean(dim=1, keepdim=True)
        # the class token is large beside what is learnt, and would be learnt by heart
        token = 0.3 * (tokens[:, 0].float() - self.mean) / self.std
        pooled = torch.cat([attended, flat.mean(dim=2), token, best], dim=1)
        return self.answer(self.drop(pooled)).squeeze(-1), patches

    def _entered(self, patches: torch.Tensor) -> torch.Tensor:
        """Standardized patches through the first layer: (n, patches, channels) to (n, patches, hidden)."""
        if not self.training:
            return self.enter((patches.float() - self.mean) / self.std)
        # few pictures at a time: what is as large as their tokens then stays in the processor's cache
        return torch.cat([self._entered_in_training(part) for part in patches.split(PART)])

    def _entered_in_training(self, patches: torch.Tensor) -> torch.Tensor:
        """The same with a channel left out of all patches of a picture, in the weights and not in the tokens."""
        kept = functional.dropout(torch.ones(len(patches), 1, self.channels), CHANNEL_DROPOUT)
        weight = self.enter.weight * (kept / self.std)
        bias = self.enter.bias - weight @ self.mean
        return torch.baddbmm(bias.unsqueeze(1), patches.float(), weight.transpose(1, 2))


def make_head(kind: str, width: int, hidden: int, channels: int) -> Head:
    """Build the head that params name, with random weights."""
    return ConvHead(width, hidden, channels) if kind == "conv" else Head(kind, width, hidden)


def fit(
    train: SplitFeatures,
    params: TrainParams,
    progress: Callable[[float], None],
    channels: int = 1,
    start: Head | None = None,
) -> Head:
    """Train a head; its weights are the mean over the ends of the last `params.average` epochs.

    The schedule ends near a rate of zero, so the last epochs are the best ones and differ by noise, which the mean
    takes out (Izmailov et al. 2018, stochastic weight averaging). No pictures are needed to choose an epoch: the whole
    calibration split is left for what is fitted afterwards. Runs on two threads, whatever the machine has, with fixed
    seeds: the same features give the same bytes.

    Args:
        train: features of the training split.
        params: section `train`.
        progress: is told each epoch's mean loss.
        channels: numbers a token, for the conv head.
        start: a trained head of the same shape to go on with; None begins with random weights.
    """
    torch.manual_seed(params.seed)
    torch.set_num_threads(THREADS)
    # as torch.use_deterministic_algorithms, which imports a compiler (5 s) to configure it too
    torch.set_deterministic_debug_mode("error")
    # nothing here is read before it is written, and filling it first takes a tenth of the time
    torch.utils.deterministic.fill_uninitialized_memory = False
    x = torch.from_numpy(train.x.reshape(-1, train.x.shape[-1]))
    y = torch.from_numpy(np.repeat(train.label, train.x.shape[1])).float()
    cover = None if train.cover is None else torch.from_numpy(train.cover.reshape(len(x), -1)).float()
    head = start
    if head is None:
        head = make_head(params.head, x.shape[1], params.hidden, channels)
        head.measure(x)
    optimizer = torch.optim.AdamW(head.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    steps = params.epochs * -(-len(x) // params.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.learning_rate, total_steps=steps)
    ends: list[dict[str, torch.Tensor]] = []
    for epoch in range(params.epochs):
        head.train()
        losses = []
        for rows in torch.randperm(len(x)).split(params.batch_size):
            loss = head_loss(head, x[rows], y[rows], None if cover is None else cover[rows], params)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        progress(float(np.mean(losses)))
        if epoch >= params.epochs - params.average:
            ends.append({name: tensor.clone() for name, tensor in head.state_dict().items()})
    head.load_state_dict({name: torch.stack([end[name] for end in ends]).mean(dim=0) for name in ends[0]})
    head.eval()
    return head


def save_head(head: Head, folder: Path) -> None:
    """Write head.safetensors: mean, std and the layers' weights."""
    from safetensors.torch import save

    write_bytes(folder / HEAD_FILE, save({name: tensor.contiguous() for name, tensor in head.state_dict().items()}))


def load_head(folder: Path, kind: str, width: int, hidden: int, channels: int = 1) -> Head:
    """Read a head of known shape back.

    Raises:
        RuntimeError: the file holds other tensors.
    """
    from safetensors.torch import load_file

    head = make_head(kind, width, hidden, channels)
    head.load_state_dict(load_file(folder / HEAD_FILE), strict=True)
    head.eval()
    return head
