"""A DINOv2 of random weights, two blocks deep and 32 px wide, with a linear head: real classes, small numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = 56
HIDDEN = 32  # numbers a token after one block


def write_backbone(folder: Path) -> Path:
    """Write it in safetensors as transformers does."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(3)
    config = Dinov2Config(
        hidden_size=HIDDEN, num_hidden_layers=3, num_attention_heads=4, image_size=SIZE, layerscale_value=0.7
    )
    model = Dinov2Model(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # gains of one and offsets of nought would hide a wrong fold
            if "norm" in name or "lambda" in name or name.endswith("bias"):
                weight.add_(torch.randn_like(weight) * 0.3)
    model.save_pretrained(folder)
    return folder


def classifier(backbone: Path, pooling: str = "statistics", layers: tuple[int, ...] = (1, 2)) -> Any:
    """A classifier as `tasks.classifier.model.Classifier` is one: backbone, head, scaling."""
    import torch
    from torch import nn

    from tasks.classifier.backbone import Backbone

    class Tiny(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(4)
            self.backbone = Backbone(backbone, layers, SIZE, pooling)
            self.head = nn.Sequential(nn.Linear(self.backbone.width, 1), nn.Flatten(0))
            self.a, self.b = 2.0, -0.3

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.a * self.head(self.backbone(pixels)) + self.b

    return Tiny().eval()


def contract() -> dict[str, Any]:
    """What its folder promises."""
    return {
        "input": {"dtype": "uint8", "shape": [None, SIZE, SIZE, 3]},
        "output": {"name": "logit", "shape": [None]},
        "max_batch": 8,
    }
