"""The classifier and the detectors in fp16 for torch on a GPU: the graph, and what it answers as CUDA graphs there.

The graph in fp16 is found as TensorRT's is (`half.py`): parts that lose too much stay in fp32. The engine that will
serve is then opened on the GPU, and its answers are held against torch in fp32 on real images.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

from cascade.engines.load import open_session
from cascade.engines.torch_cuda import graph_file
from tasks.config import ExportParams
from tasks.optimize.calibration_images import CalibrationImages
from tasks.optimize.half import write_half
from tasks.optimize.parity import ParityReference, run_all
from tasks.optimize.report import Run
from tasks.optimize.tensorrt_engines import classifier_request, labelled
from tasks.optimize.verify import EngineRequest, judge


def write_classifier(
    folder: Path, params: ExportParams, precision: Literal["fp16", "fp32"], images: CalibrationImages, reference: Run
) -> dict[str, Any]:
    """Write `classifier.fp16.onnx` beside `classifier.onnx` where fp16 is asked for, and verify it on the GPU.

    Args:
        folder: holds the graph in fp32.
        params: section `export`.
        precision: asked for.
        images: of the calibration split; MCC is measured on all of them.
        reference: torch in fp32.

    Returns:
        Device, parity, metric, and how the graph in fp16 was found.

    Raises:
        EngineError: no GPU, or the graph cannot be captured.
        HalfError, VerificationError: a limit is broken.
    """
    return verify_on_card(classifier_request(folder, params, precision), labelled(images, reference, params))


def verify_on_card(request: EngineRequest, reference: ParityReference) -> dict[str, Any]:
    """Write the graph in fp16 where that is asked for, and compare the engine's answers with torch's.

    Raises:
        EngineError: no GPU, or the graph cannot be captured.
        HalfError, VerificationError: a limit is broken; the graph in fp16 is removed.
    """
    target, made = graph_file(request.onnx, request.precision), dict[str, Any]()
    if request.precision == "fp16":
        made = write_half(request.onnx, target, reference, request.limits, request.params).row()
    # what a service sends most is one image; what fills the card is as many as it may
    batch = min(request.batches[2], len(reference.images))
    with contextlib.closing(
        open_session(request.onnx, "torch_cuda", request.precision, 1, sizes=(1, batch))
    ) as session:
        outputs = [run_all(session.run, reference.images, size) for size in (1, batch)]
        words = f"{session.file.name} ({session.precision}) in torch on {session.device}"
        device = session.device
    try:
        # of one image a call first; a kernel is chosen by size, and rounds as it likes
        found = [judge(words, reference, one, request.limits) for one in outputs][-1]
    except ValueError:
        if target != request.onnx:
            target.unlink(missing_ok=True)
        raise
    return {"graph": made, "device": device, **found}
