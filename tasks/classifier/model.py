"""Backbone, head and calibration as one torch module; torch is imported at the top, so import this inside functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.classifier.backbone import Backbone
from tasks.classifier.head import HeadShape, load_head
from tasks.classifier.onnx_export import write_graph

OUTPUT = "logit"


class Classifier(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 RGB (batch, size, size, 3) to calibrated logits (batch,), fp32.

    Args:
        backbone: folder of the adapted backbone.
        head_folder: folder with head.safetensors.
        head: its head.json.

    Raises:
        ValueError: the head was trained on features of another width.
    """

    def __init__(self, backbone: Path, head_folder: Path, head: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, head["layers"], head["size"], head["pooling"])
        if self.backbone.width != head["width"]:
            raise ValueError(
                f"the head was trained on {head['width']} features, the backbone gives {self.backbone.width}; "
                "run `dvc repro train`"
            )
        self.head = load_head(head_folder, HeadShape.of_document(head))
        self.a, self.b = float(head["calibration"]["a"]), float(head["calibration"]["b"])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to calibrated logits: `sigmoid` of one is the probability of roadwork."""
        return self.a * self.head(self.backbone(pixels)) + self.b


def write_onnx(model: nn.Module, size: int, path: Path) -> None:
    """Write a classifier, folded or not, as ONNX with a dynamic batch.

    Args:
        model: uint8 RGB (batch, size, size, 3) to logits (batch,).
        size: px a side.
        path: where the graph goes.
    """
    write_graph(model, size, path, [OUTPUT])
