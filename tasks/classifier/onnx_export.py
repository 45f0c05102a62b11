"""A torch module that takes uint8 images as an ONNX graph with a dynamic batch; torch is imported when called."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

INPUT = "image"
# the table of operators of the torch engine (cascade/engines/operators.py) is for this one
OPSET = 17


def write_graph(model: Any, size: int, target: Path | io.BytesIO, outputs: Sequence[str]) -> None:
    """Export with a dynamic batch.

    Torch's TorchScript exporter (`dynamo=False`): it needs no further package, and OpenVINO, ONNX Runtime and TensorRT
    run its graphs. Its warnings are silenced: that it is the older exporter, and that Python branches in transformers
    are traced, which do not depend on the batch.

    Args:
        model: takes uint8 RGB (batch, size, size, 3); is put into evaluation mode.
        size: px a side.
        target: where the graph goes.
        outputs: names of the model's outputs, whose first axis is the batch.
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
