"""Checkpoints: weights, their average and the optimizer in one safetensors file, so that a training can go on.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tasks.common.files import write_bytes
from tasks.training.loop import Trainer

MODEL, AVERAGE, OPTIMIZER = "model.", "average.", "optimizer."


def save_checkpoint(path: Path, trainer: Trainer, step: int, fingerprint: str) -> None:
    """Replace a checkpoint in one step.

    Args:
        path: the file.
        trainer: what is kept.
        step: steps that are done.
        fingerprint: names all that the training depends on.
    """
    from safetensors.torch import save

    tensors = {f"{MODEL}{name}": tensor for name, tensor in trained_tensors(trainer.model).items()}
    tensors |= {f"{AVERAGE}{name}": tensor for name, tensor in trained_tensors(trainer.average.module).items()}
    for number, slot in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{name}": torch.as_tensor(value) for name, value in slot.items()}
    metadata = {"step": str(step), "averaged": str(int(trainer.average.n_averaged)), "fingerprint": fingerprint}
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))


def load_checkpoint(
    path: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, fingerprint: str
) -> int:
    """Take up a checkpoint of the same fingerprint.

    Args:
        path: the file.
        model: gets its weights, on the device where they are.
        average: of them.
        optimizer: of them.
        fingerprint: see `save_checkpoint`.

    Returns:
        The steps that are done; 0 where there is no such file, it is damaged, or it is of another training.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != fingerprint:
                return 0
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (OSError, SafetensorError):
        return 0
    model.load_state_dict(_under(tensors, MODEL), strict=False)
    average.module.load_state_dict(_under(tensors, AVERAGE), strict=False)
    average.n_averaged.fill_(int(metadata["averaged"]))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _under(tensors, OPTIMIZER).items():
        number, slot = name.split(".")
        slots.setdefault(int(number), {})[slot] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
    return int(metadata["step"])


def trained_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights and running statistics of what is trained, by name: everything but the layers under `frozen`."""
    state: dict[str, Any] = model.state_dict()
    return {name: tensor.detach() for name, tensor in state.items() if not name.startswith("frozen.")}


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
