"""The classifier's graph with its contract, and the settings that the runtime needs beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.engines.base import Kind, Precision
from cascade.engines.classifier import CONTRACT_FILE, MODEL_FILE
from tasks.common.files import write_json
from tasks.config import ExportParams
from tasks.optimize.report import Run

if TYPE_CHECKING:
    from tasks.classifier.model import Classifier

# what the runtime takes over from head.json
HEAD_SETTINGS = (
    *("exits", "tta_band", "tta_views", "exit_fit", "risk", "risk_confidence"),
    *("size", "layers", "calibration", "prior"),
)


def write_model(backbone: Path, head_folder: Path, head: dict[str, Any], params: ExportParams, folder: Path) -> Run:
    """Write the folded graph and its contract.

    Args:
        backbone: folder of the adapted backbone.
        head_folder: of the trained head.
        head: its head.json.
        params: section `export`.
        folder: gets classifier.onnx and contract.json.

    Returns:
        Torch in fp32, as the model was trained: images (n, size, size, 3) to logits (n,).
    """
    from tasks.classifier.model import Classifier, write_onnx
    from tasks.optimize.fold import fold

    model = Classifier(backbone, head_folder, head)
    model.eval()
    write_onnx(fold(model), head["size"], folder / MODEL_FILE)
    write_json(folder / CONTRACT_FILE, contract_of(head["size"], params))
    return _torch_run(model, params.threads)


def contract_of(size: int, params: ExportParams) -> dict[str, Any]:
    """Give what contract.json holds; `size` in px."""
    return {
        "input": {"dtype": "uint8", "shape": [None, size, size, 3]},
        "output": {"name": "logit", "shape": [None]},
        "min_batch": params.batch.minimum,
        "optimum_batch": params.batch.optimum,
        "max_batch": params.batch.maximum,
        **({"graphs": list(params.batch.graphs)} if params.batch.graphs else {}),
    }


def settings_of(head: dict[str, Any], params: ExportParams, served: tuple[Kind, Precision]) -> dict[str, Any]:
    """Give what classifier.json holds: the head's settings, and the engine that serves."""
    engine, precision = served
    return {
        **{name: head[name] for name in HEAD_SETTINGS},
        "engine": engine,
        "precision": precision,
        "threads": params.threads,
    }


def _torch_run(model: Classifier, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()  # type: ignore[no-any-return]

    return run
