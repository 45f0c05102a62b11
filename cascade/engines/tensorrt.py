"""TensorRT on an NVIDIA GPU: an engine built by the export stage, and only the one of this very machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Contract, EngineError, Precision
from cascade.engines.key import Machine, read_engine, read_record, require_tensorrt, this_machine

if TYPE_CHECKING:
    import numpy as np
    import tensorrt as trt
    from numpy.typing import NDArray

# contexts: while one computes, the other copies
LANES = 2
# TensorRT's names to torch's
TYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT32": "int32", "INT64": "int64", "BOOL": "bool"}


def engine_file(model: Path) -> Path:
    """Where the engine of an ONNX file lies."""
    return model.with_suffix(".engine")


class TensorRTSession:
    """A deserialized engine and a pool of execution contexts: a context serves one thread at a time.

    Args:
        engine: the file; its record lies beside it.
        machine: where we are; asked where not said.
        device: `cuda`, or `cpu` for a double of TensorRT that computes there.

    Raises:
        EngineError: no GPU, no TensorRT, or an engine that is cut short, altered or of elsewhere.
    """

    def __init__(self, engine: Path, machine: Machine | None = None, device: str = "cuda") -> None:
        self.record = read_record(engine)
        data = read_engine(engine, self.record)
        self._refuse_foreign(engine, machine or this_machine())
        require_tensorrt()
        import tensorrt

        # kept: the engine lives no longer than these
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._runtime: trt.Runtime = tensorrt.Runtime(self._logger)
        loaded = self._runtime.deserialize_cuda_engine(data)
        if loaded is None:
            raise EngineError(f"{engine}: TensorRT {tensorrt.__version__} cannot load it; build it again")
        self.engine: trt.ICudaEngine = loaded
        self._read_tensors(engine)
        self._device = device
        self._lanes: SimpleQueue[_Context] = SimpleQueue()
        for _ in range(LANES):
            self._lanes.put(_Context(self.engine, self.input, self.outputs, device))

    def _refuse_foreign(self, engine: Path, here: Machine) -> None:
        differences = self.record.key.foreign(here)
        if differences:
            raise EngineError(
                f"{engine}: built for {'; '.join(differences)}. An engine runs where it was built: "
                "`dvc repro export` on this machine builds its own"
            )

    def _read_tensors(self, path: Path) -> None:
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        modes = {name: self.engine.get_tensor_mode(name).name for name in names}
        inputs = [name for name in names if modes[name] == "INPUT"]
        if len(inputs) != 1:
            raise EngineError(f"{path}: takes {inputs}; expected one input")
        self.input, self.outputs = inputs[0], [name for name in names if modes[name] == "OUTPUT"]
        self.shape = tuple(self.engine.get_tensor_shape(self.input))
        self.dtype = TYPES.get(self.engine.get_tensor_dtype(self.input).name, "unknown")
        least, _, most = self.engine.get_tensor_profile_shape(self.input, 0)
        self.batches = (int(least[0]), int(most[0]))

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Compute all outputs; waits where all contexts are taken.

        Args:
            batch: of the engine's input type and shape, the batch within `batches`.

        Raises:
            EngineError: TensorRT refuses the shape or fails.
        """
        least, most = self.batches
        if not least <= len(batch) <= most:
            raise EngineError(f"the engine takes {least} to {most} pictures, got {len(batch)}")
        with self._lane() as lane:
            return lane.run(batch)

    @contextmanager
    def _lane(self) -> Iterator[_Context]:
        lane = self._lanes.get()
        try:
            yield lane
        finally:
            self._lanes.put(lane)

    def close(self) -> None:
        """Give contexts and engine back."""
        while not self._lanes.empty():
            self._lanes.get()
        del self.engine, self._runtime


class _Context:
    """An execution context with its own stream; torch holds the memory on the GPU."""

    def __init__(self, engine: trt.ICudaEngine, source: str, outputs: list[str], device: str) -> None:
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

        # without a stream of its own (on a processor) this does nothing
        with torch.cuda.stream(self._stream), torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
            self._require(self._context.set_input_shape(self._input, tuple(batch.shape)), f"shape {batch.shape}")
            self._require(self._context.set_tensor_address(self._input, pixels.data_ptr()), "the input's address")
            answers = {name: self._output(name, kind) for name, kind in self._types.items()}
            handle = self._stream.cuda_stream if self._stream is not None else 0
            self._require(self._context.execute_async_v3(handle), "to compute")
            # the copy waits for the stream
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


class TensorRTEngine:
    """See `Engine`: the classifier of a folder, from `classifier.engine` beside `classifier.onnx`."""

    name = "tensorrt"

    def __init__(self, model: Path, contract: Contract, machine: Machine | None = None, device: str = "cuda") -> None:
        self.contract = contract
        self._session = TensorRTSession(engine_file(model), machine, device)
        self.precision: Precision = self._session.record.key.precision
        shape = tuple(side if side >= 0 else None for side in self._session.shape)
        contract.check_model(self._session.dtype, shape, self._session.outputs)
        least, most = self._session.batches
        if most < contract.max_batch or least > contract.min_batch:
            raise EngineError(
                f"{engine_file(model)}: built for {least} to {most} pictures, the contract promises "
                f"{contract.min_batch} to {contract.max_batch}; `dvc repro export` builds it again"
            )

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine.run`."""
        self.contract.check_input(batch)
        return self.contract.check_output(self._session.run(batch)[self.contract.output.name], len(batch))

    def close(self) -> None:
        """See `Engine.close`."""
        self._session.close()
