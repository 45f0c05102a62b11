"""The backbone with low-rank changes and a head to train them with: import this only where torch is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tasks.classifier.backbone import Backbone
from tasks.classifier.encoder import choose_dtype
from tasks.classifier.head import HeadShape, load_head, make_head
from tasks.classifier.lora.samples import TrainingView
from tasks.classifier.lora.weights import CHANGES_FILE
from tasks.classifier.losses import head_loss
from tasks.config.learn import AdaptParams, TrainParams


@dataclass(frozen=True)
class ViewTarget:
    """What a view should have been answered with.

    Attributes:
        label: float32, a scalar, 0 or 1.
        cover: share of each patch under a box, NaN where nothing is known, float32 (patches,).
        weight: of the label in the loss, float32, a scalar.
    """

    label: torch.Tensor
    cover: torch.Tensor
    weight: torch.Tensor

    def to(self, device: torch.device) -> ViewTarget:
        """Move all to a device."""
        return ViewTarget(self.label.to(device), self.cover.to(device), self.weight.to(device))


def view_target(view: TrainingView) -> ViewTarget:
    """Turn a view's label, cover and weight into tensors."""
    cover = torch.from_numpy(view.cover).float()
    return ViewTarget(torch.tensor(float(view.label)), cover, torch.tensor(view.weight))


class LoraBackbone(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """A `Dinov2Model` whose blocks after the first few carry low-rank changes (LoRA, Hu et al. 2021), and a conv head.

    It is a `Trainee` of `tasks.training.resumable`. The head reads the tokens that the head of stage 1 will read
    and learns with the same loss, so gradients ask for features that suit it.

    Attributes:
        size: px a side of its pictures.
        low_rank: the model as peft wraps it; it shares its weights with `backbone` here.
    """

    def __init__(
        self, backbone: Path, layers: Sequence[int], size: int, params: AdaptParams, train: TrainParams
    ) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import Dinov2Model

        super().__init__()
        torch.manual_seed(params.seed)
        model = Dinov2Model.from_pretrained(backbone, attn_implementation=_attention(), use_safetensors=True)
        config = LoraConfig(
            r=params.rank, lora_alpha=params.rank, target_modules=_linear(model, params.frozen_blocks, max(layers))
        )
        # a tuple, since its weights are the backbone's and must not be counted twice
        self._low_rank = (get_peft_model(model, config),)
        self.backbone = Backbone(model, layers, size, "none")
        self.size, self._train = size, train
        self._done = _untrained_blocks(params, max(layers))
        for number, block in enumerate(self.backbone.blocks):
            if number < self._done:
                block.requires_grad_(False)
        self._dtype = getattr(torch, choose_dtype("auto"))
        shape = HeadShape.of_params(train, self.backbone.width, self.backbone.channels)
        self.head = make_head(replace(shape, kind="conv"), train)

    @property
    def frozen(self) -> nn.Module:
        """Tokens in front of the trained blocks may be kept."""
        return self.backbone

    @property
    def low_rank(self) -> Any:
        """The `PeftModel`, which knows how to save the changes alone."""
        return self._low_rank[0]

    def state_dict(self, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        """What is trained, and the head: a checkpoint needs no second copy of the backbone."""
        trained = {name: tensor.detach() for name, tensor in self.named_parameters() if tensor.requires_grad}
        return {**trained, **{f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}}

    def load_changes(self, changes: Path) -> None:
        """Take up changes and a head that were trained before, with those of their features' mean and spread.

        Raises:
            RuntimeError: they are of another rank, of other blocks, or the head is of another shape.
        """
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        found, wanted = load_file(changes / CHANGES_FILE), sum("lora_" in name for name in self.low_rank.state_dict())
        # peft passes over what is not there
        if len(found) != wanted:
            raise RuntimeError(f"{len(found)} tensors of changes where {wanted} are wanted")
        set_peft_model_state_dict(self.low_rank, found)
        self.head = load_head(changes, self.head.shape, self._train).to(self.head.mean.device)

    def standardize(self, pixels: NDArray[np.uint8]) -> None:
        """Let the head take mean and spread of the features of some views, uint8 (n, size, size, 3)."""
        with torch.no_grad():
            features = self._features(self.prepare(torch.from_numpy(pixels).to(self.head.mean.device)))
            self.head.standardize(features, len(pixels))

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run the blocks that are not trained: uint8 (n, size, size, 3) to tokens (n, 1, tokens, hidden)."""
        with torch.no_grad(), self._in_precision(pixels):
            tokens: torch.Tensor = self.backbone.enter(pixels)
            for block in self.backbone.blocks[: self._done]:
                tokens = block(tokens)
        return tokens.unsqueeze(1)

    def loss(self, prepared: torch.Tensor, targets: list[ViewTarget]) -> torch.Tensor:
        """Give the loss of section `train` for tokens of `prepare`, (n, 1, tokens, hidden), and n targets: a scalar."""
        label = torch.stack([target.label for target in targets])
        cover = torch.stack([target.cover for target in targets])
        weight = torch.stack([target.weight for target in targets])
        return head_loss(self.head, self._features(prepared), label, cover, self._train, weight)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Predict for views, uint8 (n, size, size, 3), with what the head says so far: (n,)."""
        logit: torch.Tensor = self.head(self._features(self.prepare(pixels.to(self.head.mean.device))))
        return logit

    def _features(self, prepared: torch.Tensor) -> torch.Tensor:
        """Tokens (n, 1, tokens, hidden) to what the head reads, float32 (n, tokens * channels)."""
        with self._in_precision(prepared):
            features: torch.Tensor = self.backbone.after(prepared.squeeze(1).to(self._dtype), self._done)
        return features.float().flatten(1)

    def _in_precision(self, tensor: torch.Tensor) -> torch.autocast:
        """bf16 where the processor computes with it; elsewhere a step takes ten times as long as in fp32."""
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=self._dtype is torch.bfloat16)


def _untrained_blocks(params: AdaptParams, read: int) -> int:
    """How many of the blocks that are read come before the first one that is trained."""
    return (
        params.frozen_blocks
        if params.trained_blocks is None
        else max(params.frozen_blocks, read - params.trained_blocks)
    )


def _attention() -> str:
    """Name an implementation of attention: with torch's own a step on a processor takes 1.3 times as long."""
    from transformers import AttentionInterface

    AttentionInterface.register("products", _attend)
    return "sdpa" if torch.cuda.is_available() else "products"


def _attend(
    _: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None = None,
    *,
    scaling: float,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as two products and a softmax, in the precision of what comes in: (batch, heads, tokens, channels)."""
    # autocast would have the softmax in fp32, twice the bytes to go through
    with torch.autocast(query.device.type, enabled=False):
        weights = torch.softmax(query * scaling @ key.transpose(-1, -2), dim=-1)
        return (weights @ value).transpose(1, 2), None


def _linear(model: nn.Module, first: int, stop: int) -> list[str]:
    """Names of all linear layers of the blocks from `first` up to `stop`, counted from 0."""
    blocks = [f"encoder.layer.{number}." for number in range(first, stop)]
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(name.startswith(block) for block in blocks)
    ]
