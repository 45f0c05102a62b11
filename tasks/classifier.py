"""Backbone, head and calibration as one torch module: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.head import load_head
from tasks.trunk import Trunk

INPUT, OUTPUT = "image", "logit"
OPSET = 17


class Classifier(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 RGB (batch, size, size, 3) to calibrated logits (batch,): its sigmoid cuts best at 0.5."""

    def __init__(self, backbone: Path, head_folder: Path, head: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = Trunk(backbone, head["layers"], head["size"], head["pooling"])
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
    """Export with a dynamic batch.

    Torch's older exporter: it needs no further package and its graph runs in OpenVINO and ONNX Runtime alike. It warns
    that it is the older one, and of Python branches in transformers that do not depend on the batch.
    """
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (example,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
