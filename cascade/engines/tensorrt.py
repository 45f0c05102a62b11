"""TensorRT on an NVIDIA GPU: only an engine that was built on this very machine is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, ModelInput, Precision
from cascade.engines.key import Machine, read_engine, read_record, require_tensorrt, this_machine
from cascade.engines.pool import Pool
from cascade.process.card import return_unused

if TYPE_CHECKING:
    import numpy as np
    import tensorrt as trt
    from numpy.typing import NDArray

# execution contexts: while one computes, the other copies
CONTEXTS = 2
# TensorRT's names to torch's
TYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}


def engine_file(model: Path) -> Path:
    """Path of the engine that is built from an ONNX file."""
    return model.with_suffix(".engine")


class TensorRTSession:
    """See `Session`: a deserialized engine with a pool of contexts, since a context serves one thread at a time.

    Args:
        engine: the file; its record lies beside it.
        machine: this one; read from the system by default.
        device: `cuda`, or `cpu` for a double of TensorRT that computes there.

    Raises:
        EngineError: no GPU, no TensorRT, or an engine that is cut short, altered or built elsewhere.
    """

    kind: Kind = "tensorrt"
    int8_share: float | None = None
    batches: tuple[int, int] | None

    def __init__(self, engine: Path, machine: Machine | None = None, device: Device = "cuda") -> None:
        self.file, self.device, self.record = engine, device, read_record(engine)
        self.precision: Precision = self.record.key.precision
        data = read_engine(engine, self.record)
        self._refuse_foreign(engine, machine or this_machine())
        self.engine = self._deserialize(data)
        self.input, self.outputs = self._tensors()
        least, _, most = self.engine.get_tensor_profile_shape(self.input.name, 0)
        self._least, self._most = int(least[0]), int(most[0])
        self.batches = (self._least, self._most)
        self._contexts = Pool(_Context(self.engine, self.input.name, self.outputs, device) for _ in range(CONTEXTS))

    def _refuse_foreign(self, engine: Path, here: Machine) -> None:
        differences = self.record.key.foreign(here)
        if differences:
            raise EngineError(
                f"{engine}: built for {'; '.join(differences)}. An engine runs where it was built: "
                "`dvc repro export` on this machine builds its own"
            )

    def _deserialize(self, data: bytes) -> trt.ICudaEngine:
        require_tensorrt()
        import tensorrt

        # kept: the engine must not outlive them
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._runtime: trt.Runtime = tensorrt.Runtime(self._logger)
        loaded = self._runtime.deserialize_cuda_engine(data)
        if loaded is None:
            raise EngineError(f"{self.file}: TensorRT {tensorrt.__version__} cannot load it; build it again")
        engine: trt.ICudaEngine = loaded
        return engine

    def _tensors(self) -> tuple[ModelInput, tuple[str, ...]]:
        """Read the input and the names of the outputs from the engine."""
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        modes = {name: self.engine.get_tensor_mode(name).name for name in names}
        inputs = [name for name in names if modes[name] == "INPUT"]
        if len(inputs) != 1:
            raise EngineError(f"{self.file}: takes {inputs}; expected one input")
        dtype = TYPES.get(self.engine.get_tensor_dtype(inputs[0]).name, "unknown")
        shape = tuple(side if side >= 0 else None for side in self.engine.get_tensor_shape(inputs[0]))
        return ModelInput(inputs[0], dtype, shape), tuple(name for name in names if modes[name] == "OUTPUT")

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`; waits while all contexts are taken."""
        self.input.check(batch, self.file)
        if not self._least <= len(batch) <= self._most:
            raise EngineError(f"{self.file}: the engine takes {self._least} to {self._most} pictures, got {len(batch)}")
        with self._contexts.borrow() as context:
            return context.run(batch)

    def close(self) -> None:
        """See `Session.close`; contexts are freed before the engine, and the engine before the runtime."""
        self._contexts.clear()
        del self.engine, self._runtime
        # torch holds inputs and outputs
        return_unused()


class _Context:
    """An execution context with a stream of its own; torch holds the memory on the GPU."""

    def __init__(self, engine: trt.ICudaEngine, source: str, outputs: tuple[str, ...], device: Device) -> None:
        import torch

        context = engine.create_execution_context()
        if context is None:
            raise EngineError("TensorRT cannot make an execution context: too little memory on the GPU is free")
        self._context: trt.IExecutionContext = context
        self._input, self._device = source, device
        self._types = {name: getattr(torch, TYPES[engine.get_tensor_dtype(name).name]) for name in outputs}
        self._stream: Any = torch.cuda.Stream() if device == "cuda" else None

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        import numpy as np
        import torch

        # on a processor there is no stream, and this has no effect
        with torch.cuda.stream(self._stream), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
            self._require(self._context.set_input_shape(self._input, tuple(batch.shape)), f"shape {batch.shape}")
            self._require(self._context.set_tensor_address(self._input, pixels.data_ptr()), "the input's address")
            answers = {name: self._output(name, kind) for name, kind in self._types.items()}
            handle = self._stream.cuda_stream if self._stream is not None else 0
            self._require(self._context.execute_async_v3(handle), "to compute")
            # the copy to the processor waits for the stream
            return {name: values.cpu().numpy() for name, values in answers.items()}

    def _output(self, name: str, kind: Any) -> Any:
        import torch

        shape = tuple(self._context.get_tensor_shape(name))
        if any(side < 0 for side in shape):
            raise EngineError(f"the shape of {name} follows from the data: {shape}; such outputs are not supported")
        values = torch.empty(shape, dtype=kind, device=self._device)
        self._require(self._context.set_tensor_address(name, values.data_ptr()), f"the address of {name}")
        return values

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(f"TensorRT refuses {what}; its log says why")
