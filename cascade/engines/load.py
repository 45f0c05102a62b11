"""Open a session by the name of its library; each library is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cascade.engines.base import EngineError, Kind, Precision, Session


def open_session(
    model: Path,
    kind: Kind,
    precision: Precision,
    threads: int,
    *,
    fixed_one: bool = False,
    sizes: Sequence[int] = (1,),
) -> Session:
    """Load a model.

    Args:
        model: ONNX, quantized where the precision is int8; TensorRT loads the `.engine` that was built from it, and
            torch on a GPU the graph in fp16 beside it.
        kind: the engine.
        precision: asked for; `Session.precision` says what is in force. Torch on a processor computes in fp32 and
            TensorRT in what its engine was built for.
        threads: processor threads of one inference.
        fixed_one: a second plan for exactly one image; see `OpenVinoSession`. The other libraries have no use for it.
        sizes: batch sizes that are captured; see `TorchCudaSession`. The other libraries have no use for it.

    Raises:
        EngineError: the file or the library is unusable, or the kind is unknown.
    """
    if kind == "openvino":
        from cascade.engines.openvino import OpenVinoSession

        return OpenVinoSession(model, precision, threads, fixed_one=fixed_one)
    if kind == "onnxruntime":
        from cascade.engines.onnxruntime import OnnxRuntimeSession

        return OnnxRuntimeSession(model, precision, threads)
    if kind == "torch":
        from cascade.engines.torch import TorchSession

        return TorchSession(model, threads)
    if kind == "tensorrt":
        from cascade.engines.tensorrt import TensorRTSession, engine_file

        return TensorRTSession(engine_file(model))
    if kind == "torch_cuda":
        from cascade.engines.torch_cuda import TorchCudaSession

        return TorchCudaSession(model, precision, sizes)
    raise EngineError(f"engine {kind!r} is unknown; use tensorrt, torch_cuda, openvino, onnxruntime or torch")
