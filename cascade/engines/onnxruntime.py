"""ONNX Runtime on the processor, in fp32 or of an int8 graph: its CPU kernels compute no bf16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, ModelInput, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DTYPES = {"tensor(uint8)": "uint8"}


class OnnxRuntimeSession:
    """See `Session`; ONNX Runtime allows concurrent calls of one inference session.

    Args:
        model: ONNX, quantized where the precision is int8.
        precision: anything but int8 is computed in fp32.
        threads: processor threads of one inference.

    Raises:
        EngineError: the file cannot be loaded, or it has more than one input.
    """

    kind: Kind = "onnxruntime"
    device: Device = "cpu"
    int8_share: float | None = None
    batches: tuple[int, int] | None = None

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        import onnxruntime

        self.file, self.precision = model, _precision(precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # its exceptions share no base class but this
        except Exception as error:
            raise EngineError(f"{model}: onnxruntime cannot load it: {_first_line(error)}") from None
        self.input = _input(model, self._session.get_inputs())
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        self.input.check(batch, self.file)
        try:
            values = self._session.run(list(self.outputs), {self.input.name: batch})
        except Exception as error:
            raise EngineError(f"{self.file}: onnxruntime failed: {_first_line(error)}") from None
        return dict(zip(self.outputs, values, strict=True))

    def close(self) -> None:
        """See `Session.close`."""
        del self._session


def _precision(wanted: Precision) -> Precision:
    return "int8" if wanted == "int8" else "fp32"


def _input(model: Path, inputs: list[Any]) -> ModelInput:
    if len(inputs) != 1:
        raise EngineError(f"{model}: takes {[item.name for item in inputs]}; expected one input")
    (item,) = inputs
    shape = tuple(axis if isinstance(axis, int) else None for axis in item.shape)
    return ModelInput(item.name, DTYPES.get(item.type, item.type), shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
