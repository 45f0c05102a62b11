"""The trained part of the classifier in torch: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tasks.common.files import write_bytes
from tasks.config.learn import TrainParams

HEAD_FILE = "head.safetensors"
CHUNK = 16  # rows that are scored at once
PART = 8  # pictures at once: what is as large as their tokens then stays in the processor's cache
# of heads that were written before head.json named them
TOP_PATCHES, TOKEN_SCALE = 8, 0.3


@dataclass(frozen=True)
class HeadShape:
    """What a head's weights fit, and what it does without weights.

    Attributes:
        kind: linear, mlp or conv.
        width: numbers a picture that come in.
        channels: numbers a token, for conv.
        hidden: units of mlp, and of a patch in conv.
        top_patches: patches whose mean score is one of conv's pooled features.
        token_scale: what conv multiplies the class token by.
        members: heads of conv side by side, whose logits are averaged.
    """

    kind: str
    width: int
    channels: int
    hidden: int
    top_patches: int = TOP_PATCHES
    token_scale: float = TOKEN_SCALE
    members: int = 1

    @classmethod
    def of_params(cls, params: TrainParams, width: int, channels: int) -> HeadShape:
        """The shape that section `train` asks for on features of `width` numbers, `channels` a token."""
        conv = params.conv
        return cls(params.head, width, channels, params.hidden, conv.top_patches, conv.token_scale)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> HeadShape:
        """The shape that a head.json describes."""
        named = {name: document[name] for name in ("top_patches", "token_scale", "members") if name in document}
        return cls(document["kind"], document["width"], document["channels"], document["hidden"], **named)

    def as_document(self) -> dict[str, Any]:
        """What a head.json says of it."""
        return asdict(self)


class Head(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Standardize features, then one linear layer or a small MLP: (n, width) to logits (n,).

    Args:
        shape: of kind linear or mlp.
        dropout: share of the hidden units that training leaves out.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: HeadShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self._add_scale(shape.width)
        layers = [nn.Linear(shape.width, 1)]
        if shape.kind == "mlp":
            hidden = nn.Linear(shape.width, shape.hidden)
            layers = [hidden, nn.GELU(), nn.Dropout(dropout), nn.Linear(shape.hidden, 1)]
        self.layers = nn.Sequential(*layers)

    def _add_scale(self, width: int) -> None:
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def standardize(self, x: torch.Tensor, views: int) -> None:
        """Take mean and spread of the training features, (n, width); `views` is for heads that read tokens."""
        self.mean.copy_(x.float().mean(dim=0))
        self.std.copy_(x.float().std(dim=0).clamp_min(1e-6))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (n, width) to logits (n,), not yet calibrated."""
        return self.with_patches(features)[0]

    def with_patches(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, width) to logits of the pictures, (n,), and of their patches, (n, patches), for conv alone."""
        return self.layers((features.float() - self.mean) / self.std).squeeze(-1), None

    @property
    def last_layer(self) -> nn.Linear:
        """The layer whose output is the logit."""
        return self.layers[-1]

    def logits(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Score features of shape (..., width), some at a time; gives logits (...)."""
        self.eval()
        flat = torch.from_numpy(x.reshape(-1, x.shape[-1]))
        with torch.inference_mode():
            parts = [self(part.to(self.mean.device)).cpu() for part in flat.split(CHUNK)]
        return torch.cat(parts).double().numpy().reshape(x.shape[:-1])  # type: ignore[no-any-return]


class ConvHead(Head):
    """Score every patch with its neighbours, and the picture by what the best patches hold.

    Works are small: on 16 x 16 patches a cone is one or two, and means over all of them drown it. Two convolutions give
    each patch `hidden` numbers and a score, which boxes teach where there are any; the picture's logit is linear in the
    patches' mean, their mean weighted by score (attention pooling, Ilse et al. 2018), the class token and the mean of
    the best scores. Several members are convolutions by groups: what they pool lies side by side, and since the last
    layer is linear, one of it gives the mean of their logits.

    Args:
        shape: of kind conv; width is tokens * channels, the class token first.
        dropout: share of a patch's numbers, and of the pooled ones, that training leaves out.
        channel_dropout: share of the channels that training leaves out of all patches of a picture.
    """

    def __init__(self, shape: HeadShape, dropout: float = 0.0, channel_dropout: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.shape = shape
        channels, members = shape.channels, shape.members
        hidden = members * shape.hidden
        self._add_scale(channels)
        self.top_patches, self.token_scale, self.channel_dropout = shape.top_patches, shape.token_scale, channel_dropout
        self.channels, self.side = channels, round((shape.width / channels - 1) ** 0.5)
        self.by_member = (members, shape.hidden)
        # a product on the tokens as they lie: a 1 x 1 convolution would have all of them copied into another order
        self.enter, self.mix = nn.Linear(channels, hidden), nn.Conv2d(hidden, hidden, 3, padding=1, groups=members)
        self.score = nn.Conv2d(hidden, members, 1, groups=members)
        self.answer = nn.Linear(2 * hidden + channels + members, 1)
        self.drop = nn.Dropout(dropout)

    @property
    def last_layer(self) -> nn.Linear:
        """The layer whose output is the logit."""
        return self.answer

    def standardize(self, x: torch.Tensor, views: int) -> None:
        """Take mean and spread of each channel over the tokens of about `views` rows of x, (n, tokens * channels)."""
        tokens = x[:: max(1, len(x) // views)].float().reshape(-1, self.channels)
        self.mean.copy_(tokens.mean(dim=0))
        self.std.copy_(tokens.std(dim=0).clamp_min(1e-6))

    def with_patches(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, tokens * channels) to logits of the pictures, (n,), and of their patches, (n, patches).

        With several members a patch's logit is the mean of theirs.
        """
        tokens = features.reshape(-1, 1 + self.side**2, self.channels)
        hidden = functional.gelu(self._entered(tokens[:, 1:]))
        hidden = hidden.transpose(1, 2).reshape(-1, hidden.shape[-1], self.side, self.side)
        hidden = functional.gelu(self.mix(hidden)) + hidden
        patches = self.score(self.drop(hidden)).flatten(2)
        flat = hidden.flatten(2)
        shares = torch.softmax(patches, dim=2).unsqueeze(2)
        attended = (flat.reshape(-1, *self.by_member, flat.shape[-1]) * shares).sum(dim=3).flatten(1)
        best = patches.topk(self.top_patches, dim=2).values.mean(dim=2)
        token = self.token_scale * (tokens[:, 0].float() - self.mean) / self.std
        pooled = torch.cat([attended, flat.mean(dim=2), token, best], dim=1)
        return self.answer(self.drop(pooled)).squeeze(-1), patches.mean(dim=1)

    def _entered(self, patches: torch.Tensor) -> torch.Tensor:
        """Standardized patches through the first layer: (n, patches, channels) to (n, patches, hidden)."""
        if not self.training:
            return self.enter((patches.float() - self.mean) / self.std)
        return torch.cat([self._entered_in_training(part) for part in patches.split(PART)])

    def _entered_in_training(self, patches: torch.Tensor) -> torch.Tensor:
        """The same with a channel left out of all patches of a picture, in the weights and not in the tokens."""
        ones = torch.ones(len(patches), 1, self.channels, device=patches.device)
        kept = functional.dropout(ones, self.channel_dropout)
        weight = self.enter.weight * (kept / self.std)
        bias = self.enter.bias - weight @ self.mean
        return torch.baddbmm(bias.unsqueeze(1), patches.float(), weight.transpose(1, 2))


def make_head(shape: HeadShape, params: TrainParams | None = None) -> Head:
    """Build a head with random weights; `params` (section `train`) has the dropouts of one that is to be trained."""
    if shape.kind == "conv":
        given = (params.conv.dropout, params.conv.channel_dropout) if params else ()
        return ConvHead(shape, *given)
    return Head(shape, params.mlp.dropout if params else 0.0)


def save_head(head: Head, folder: Path) -> None:
    """Write head.safetensors: mean, std and the layers' weights."""
    from safetensors.torch import save

    write_bytes(folder / HEAD_FILE, save({name: tensor.contiguous() for name, tensor in head.state_dict().items()}))


def load_head(folder: Path, shape: HeadShape, params: TrainParams | None = None) -> Head:
    """Read a head of known shape back, with as many members as the file holds; `params` as in `make_head`.

    Raises:
        RuntimeError: the file holds other tensors.
    """
    from safetensors.torch import load_file

    weights = load_file(folder / HEAD_FILE)
    members = len(weights.get("score.weight", [None]))
    head = make_head(replace(shape, members=members), params)
    head.load_state_dict(weights, strict=True)
    head.eval()
    return head
