"""The trained part of the classifier in torch: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from cascade.config import TrainParams
from tasks.features import SplitFeatures
from tasks.files import write_bytes

HEAD_FILE = "head.safetensors"


class Head(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Standardize features, then one linear layer or a small MLP: (n, width) float32 to logits (n,)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, kind: str, width: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        layers = [nn.Linear(width, 1)]
        if kind == "mlp":
            layers = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features to logits, not yet calibrated."""
        return self.layers((features - self.mean) / self.std).squeeze(-1)

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score features of shape (..., width); gives (...)."""
        self.eval()
        with torch.inference_mode():
            flat = self(torch.from_numpy(x.reshape(-1, x.shape[-1])))
        return flat.double().numpy().reshape(x.shape[:-1])  # type: ignore[no-any-return]


def focal_loss(
    logit: torch.Tensor, label: torch.Tensor, *, gamma: float, alpha: float, smoothing: float
) -> torch.Tensor:
    """Binary focal loss of Lin et al. 2017 with smoothed labels, mean over the batch.

    Args:
        logit: (n,).
        label: (n,), 0 or 1.
        gamma: how strongly easy examples are played down; 0 gives cross-entropy.
        alpha: weight of roadwork; clear ones weigh 1 - alpha.
        smoothing: labels become smoothing/2 and 1 - smoothing/2.
    """
    target = label * (1 - smoothing) + smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    # distance of the probability from its target: the 1 - p_t of the paper, which smoothing must not turn negative
    distance = (torch.sigmoid(logit) - target).abs()
    weight = alpha * label + (1 - alpha) * (1 - label)
    return 2 * (weight * distance**gamma * loss).mean()


def fit(
    train: SplitFeatures, params: TrainParams, score: Callable[[Head], float], progress: Callable[[float], None]
) -> tuple[Head, int, float]:
    """Train a head, keeping the weights of the epoch that `score` liked best.

    Runs on one thread with fixed seeds: the same features give the same bytes.

    Args:
        train: features of the training split.
        params: section `train`.
        score: judges the head after an epoch; higher is better.
        progress: is told each epoch's score.

    Returns:
        The head, the best epoch (from 1), and its score.
    """
    torch.manual_seed(params.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    x = torch.from_numpy(train.x.reshape(-1, train.x.shape[-1]))
    y = torch.from_numpy(np.repeat(train.label, train.x.shape[1])).float()
    head = Head(params.head, x.shape[1], params.hidden)
    head.mean.copy_(x.mean(dim=0))
    head.std.copy_(x.std(dim=0).clamp_min(1e-6))
    optimizer = torch.optim.AdamW(head.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    best, best_epoch, kept = -np.inf, 0, {}
    for epoch in range(1, params.epochs + 1):
        _epoch(head, optimizer, x, y, params)
        value = score(head)
        progress(value)
        if value > best:
            best, best_epoch, kept = value, epoch, {name: t.clone() for name, t in head.state_dict().items()}
        elif epoch - best_epoch >= params.patience:
            break
    head.load_state_dict(kept)
    return head.eval(), best_epoch, float(best)


def _epoch(head: Head, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, params: TrainParams) -> None:
    head.train()
    for rows in torch.randperm(len(x)).split(params.batch_size):
        loss = focal_loss(
            head(x[rows]), y[rows], gamma=params.gamma, alpha=params.alpha, smoothing=params.label_smoothing
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def save_head(head: Head, folder: Path) -> None:
    """Write head.safetensors: mean, std and the layers' weights."""
    from safetensors.torch import save

    write_bytes(folder / HEAD_FILE, save({name: tensor.contiguous() for name, tensor in head.state_dict().items()}))


def load_head(folder: Path, kind: str, width: int, hidden: int) -> Head:
    """Read a head of known shape back.

    Raises:
        RuntimeError: the file holds other tensors.
    """
    from safetensors.torch import load_file

    head = Head(kind, width, hidden)
    head.load_state_dict(load_file(folder / HEAD_FILE), strict=True)
    head.eval()
    return head
