"""The frozen DINOv2 of the small RF-DETR: pixels to the feature maps that are cached.

The key of that cache digests this module (`tasks.detection.training`), so all that turns pixels into maps is in here.
Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
PATCH = 14  # px a side of a DINOv2 patch


class FrozenBackbone(nn.Module):  # type: ignore[misc]
    """The first layers of a DINOv2, frozen: pixels to the feature maps of three depths, one upon the other."""

    def __init__(self, folder: Path, layers: int, size: int) -> None:
        super().__init__()
        from transformers import AutoConfig, Dinov2Backbone

        config = AutoConfig.from_pretrained(folder)
        if layers % 3 or layers > config.num_hidden_layers:
            raise ValueError(f"detect.detr.layers: {layers} must be 3, 6, ... up to {config.num_hidden_layers}")
        depths = [f"stage{depth}" for depth in (layers // 3, 2 * layers // 3, layers)]
        self.net = Dinov2Backbone.from_pretrained(folder, out_features=depths, use_safetensors=True)
        # those behind the last depth would be run for nothing
        self.net.encoder.layer = self.net.encoder.layer[:layers]
        self.width, self.side = config.hidden_size, size // PATCH
        self.channels = len(depths) * self.width
        _fix_positions(self.net.embeddings, self.side)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stay in evaluation mode: it is frozen."""
        super().train(mode=False)
        return self

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `normalised`: (n, 3, size, size) to (n, levels * width, side, side)."""
        return torch.cat(self.net(inputs).feature_maps, dim=1)

    def feature_maps(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same for training, bf16."""
        kind = inputs.device.type
        half = kind == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
        with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            return self(inputs).to(torch.bfloat16)


def normalised(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """uint8 (n, size, size, 3) to float32 (n, 3, size, size); mean and spread are (1, 3, 1, 1)."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


def _fix_positions(embeddings: Any, side: int) -> None:
    """Resize the position embeddings once: ONNX has no bicubic resize with the same result."""
    positions = embeddings.position_embeddings
    count = int((positions.shape[1] - 1) ** 0.5)
    grid = positions[:, 1:].reshape(1, count, count, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    fixed = torch.cat([positions[:, :1], grid.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1).detach()
    embeddings.position_embeddings = nn.Parameter(fixed, requires_grad=False)
    embeddings.interpolate_pos_encoding = lambda *_: embeddings.position_embeddings
