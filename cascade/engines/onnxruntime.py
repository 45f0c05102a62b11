"""ONNX Runtime on the processor, in fp32 or of an int8 graph: its CPU kernels know no bf16."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascade.engines.base import Contract, EngineError, Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class OnnxRuntimeEngine:
    """An inference session; ONNX Runtime allows concurrent calls of one."""

    name = "onnxruntime"

    def __init__(self, model: Path, contract: Contract, threads: int, precision: Precision = "fp32") -> None:
        import onnxruntime

        self.precision: Precision = "int8" if precision == "int8" else "fp32"

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # its exceptions share no base class but this
        except Exception as error:
            raise EngineError(f"{model}: ONNX Runtime cannot load it: {error}") from None
        self.contract = contract
        self._input = _check(session, contract)
        self._session = session

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        self.contract.check_input(batch)
        try:
            (logit,) = self._session.run([self.contract.output.name], {self._input: batch})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed: {error}") from None
        return self.contract.check_output(logit, len(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        del self._session


def _check(session: object, contract: Contract) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()  # type: ignore[attr-defined]
    if len(inputs) != 1:
        raise EngineError(f"expected a model of one input, got {len(inputs)}")
    dtype = {"tensor(uint8)": "uint8"}.get(inputs[0].type, inputs[0].type)
    shape = tuple(axis if isinstance(axis, int) else None for axis in inputs[0].shape)
    contract.check_model(dtype, shape, [output.name for output in outputs])
    return str(inputs[0].name)
