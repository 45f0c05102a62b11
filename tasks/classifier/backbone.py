"""The frozen part of the classifier in torch: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Normalisation, the blocks of a DINOv2 up to the last one asked for, and the tokens after some of them.

    Takes uint8 RGB of shape (batch, size, size, 3); gives float32 features: the channels after each of `layers`, side
    by side, without the final norm, which belongs to the last block. Early blocks still know the edges and colours of a
    single patch, which small objects are made of; later ones know what it is part of. With pooling `statistics` the
    features are the class token, mean and maximum of the patch tokens: (batch, 3 * channels). With `none` they are all
    tokens, the class token first: (batch, tokens * channels). `source` is a folder, or a `Dinov2Model` that is loaded.
    """

    mean: torch.Tensor
    std: torch.Tensor
    positions: torch.Tensor

    def __init__(self, source: Path | nn.Module, layers: Sequence[int], size: int, pooling: str = "statistics") -> None:
        super().__init__()
        model = _read(source) if isinstance(source, Path) else source
        depth = len(model.encoder.layer)
        if max(layers) > depth:
            raise ValueError(f"embed.layers asks for {max(layers)}, but the backbone in {source} has {depth} layers")
        embeddings = model.embeddings
        self.patch, self.token = embeddings.patch_embeddings.projection, embeddings.cls_token
        self.blocks = nn.ModuleList(model.encoder.layer[: max(layers)])
        self.layers = frozenset(layers)
        self.register_buffer("positions", _positions(embeddings, size))
        self.pooling, self.channels = pooling, int(model.config.hidden_size) * len(self.layers)
        self.width = self.channels * (3 if pooling == "statistics" else int(self.positions.shape[1]))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to features, in the precision of the weights up to the last block and fp32 after it."""
        tokens = self.after(self.enter(pixels)).float()
        if self.pooling == "none":
            return tokens.flatten(1)
        patches = tokens[:, 1:]
        return torch.cat([tokens[:, 0], patches.mean(dim=1), patches.amax(dim=1)], dim=1)

    def enter(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to the tokens that the first block takes, (batch, tokens, hidden)."""
        image = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        tokens = self.patch(image.to(self.token.dtype)).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1) + self.positions

    def after(self, tokens: torch.Tensor, done: int = 0) -> torch.Tensor:
        """Tokens behind the first `done` blocks to those after each of `layers`, side by side in channels."""
        kept = [tokens] if done in self.layers else []
        for number, block in enumerate(self.blocks[done:], start=done + 1):
            tokens = block(tokens)
            if number in self.layers:
                kept.append(tokens)
        return torch.cat(kept, dim=2)

    def in_precision(self, dtype: torch.dtype) -> Backbone:
        """Convert the blocks; normalisation stays in fp32, where it costs nothing."""
        self.patch.to(dtype)
        self.blocks.to(dtype)
        self.token.data = self.token.data.to(dtype)
        self.positions = self.positions.to(dtype)
        return self


def _read(folder: Path) -> nn.Module:
    from transformers import Dinov2Model

    return Dinov2Model.from_pretrained(folder, attn_implementation="sdpa", use_safetensors=True).eval()


def _positions(embeddings: nn.Module, size: int) -> torch.Tensor:
    """Position embeddings at `size` px: a constant, so that the exported graph need not interpolate."""
    with torch.no_grad():
        patches = (size // embeddings.patch_size) ** 2
        blank = embeddings.cls_token.new_zeros(1, patches + 1, embeddings.cls_token.shape[-1])
        positions: torch.Tensor = embeddings.interpolate_pos_encoding(blank, size, size)
    return positions.detach().clone()
