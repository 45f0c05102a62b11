"""A torch module of uint8 pictures as an ONNX graph with a dynamic batch; loads torch when it is called."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INPUT = "image"
OPSET = 17


def write_graph(model: Any, size: int, target: Path | io.BytesIO, outputs: Sequence[str]) -> None:
    """Export with a dynamic batch.

    Torch's older exporter: it needs no further package and its graph runs in OpenVINO and ONNX Runtime alike. It warns
    that it is the older one, and of Python branches in transformers that do not depend on the batch.

    Args:
        model: takes uint8 RGB of shape (batch, size, size, 3); is put into evaluation mode.
        size: px a side.
        target: where the graph goes.
        outputs: names of what the model gives, whose first axis is the batch.
    """
    import torch

    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(),
            (example,),
            str(target) if isinstance(target, Path) else target,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
