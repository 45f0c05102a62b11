"""Backbone, head and calibration as one torch module: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.classifier.backbone import Backbone
from tasks.classifier.head import load_head
from tasks.classifier.onnx_export import write_graph

OUTPUT = "logit"


class Classifier(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 RGB (batch, size, size, 3) to calibrated logits (batch,): its sigmoid cuts best at 0.5."""

    def __init__(self, backbone: Path, head_folder: Path, head: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = Backbone(backbone, head["layers"], head["size"], head["pooling"])
        if self.trunk.width != head["width"]:
            raise ValueError(
                f"the head was trained on {head['width']} features, the backbone gives {self.trunk.width}; "
                "run `dvc repro train`"
            )
        self.head = load_head(head_folder, head["kind"], head["width"], head["hidden"], head["channels"])
        self.a, self.b = float(head["calibration"]["a"]), float(head["calibration"]["b"])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to calibrated logits, fp32."""
        return self.a * self.head(self.trunk(pixels)) + self.b


def write_onnx(model: Classifier, size: int, path: Path) -> None:
    """Export with a dynamic batch: see `tasks.classifier.onnx_export.write_graph`."""
    write_graph(model, size, path, [OUTPUT])
