"""Torch on an NVIDIA GPU: one CUDA graph a batch size, captured when the model is loaded and replayed at each call.

A small network spends its time on starting kernels: DINOv2-L at batch 1 took 9.1 ms kernel by kernel and 1.51 ms as a
graph (H100, fp16). The graph comes from the ONNX file, in fp16 from `<name>.fp16.onnx`, whose parts in fp32 are part of
the file; so it holds no pickle and no code, and what was compared with torch in fp32 is what serves.

Captures follow PyTorch's notes on CUDA graphs (pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): warm-up on a side
stream, static inputs and outputs, one memory pool. Graphs that share a pool must not run at the same time, and each
overwrites the outputs of the others; a lock and a copy of the outputs before it is released keep both rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from cascade.engines.base import Device, EngineError, Kind, Precision
from cascade.engines.fused import fuse, operators
from cascade.engines.onnx_graph import Graph, read_graph
from cascade.engines.plan import FAILURES, Plan, Planner, fold_constants
from cascade.engines.torch import require_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# passes before a capture: libraries choose their algorithms and take their scratch memory in them
WARM_UP = 3
HALF = "fp16"


def graph_file(model: Path, precision: Precision) -> Path:
    """Path of the ONNX file in a precision: in fp16 it lies beside the one in fp32."""
    return model.with_name(f"{model.stem}.{HALF}{model.suffix}") if precision == HALF else model


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Batch sizes to capture where none are given: powers of two, and the most."""
    return tuple(sorted({1 << power for power in range(most.bit_length()) if 1 << power < most} | {most}))


class TorchCudaSession:
    """See `Session`; calls wait for each other.

    Args:
        model: the file in fp32; in fp16 the one of `graph_file` beside it is loaded.
        precision: fp16, or fp32 for anything else.
        sizes: batch sizes that are captured; a batch is padded to the next one, and a larger one is divided.
        device: `cuda`; another one with a double of torch.cuda, for tests.
        cuda: torch's module.

    Raises:
        EngineError: torch sees no GPU, the file cannot be loaded or captured, or the answers do not lie on the GPU.
    """

    kind: Kind = "torch_cuda"
    int8_share: float | None = None
    batches: tuple[int, int] | None = None

    def __init__(
        self, model: Path, precision: Precision, sizes: Sequence[int], device: str = "cuda", cuda: Any = None
    ) -> None:
        require_torch("torch_cuda")
        import torch

        self._cuda = cuda or torch.cuda
        if not self._cuda.is_available():
            raise EngineError("torch_cuda needs an NVIDIA GPU, and torch sees none; choose export.engine: openvino")
        self.precision: Precision = "fp16" if precision == HALF else "fp32"
        self.file, self._device = graph_file(model, self.precision), torch.device(device)
        graph, known, settings = _read(self.file)
        self.input, self.outputs = graph.input, graph.outputs
        self._sizes = tuple(sorted(set(sizes)))
        self._lock = Lock()
        self._stream = self._cuda.Stream()
        try:
            with torch.inference_mode():
                self._staged = self._pixels(self._sizes[-1], on_card=False)
                self._graphs = self._capture_all(Planner(graph, known, settings, self._device))
        except EngineError as error:
            raise EngineError(f"{self.file}: {error}") from None
        except FAILURES as error:
            raise EngineError(f"{self.file}: no CUDA graph of it can be captured: {error}") from None
        self.device: Device = self._where()

    def _capture_all(self, planner: Planner) -> dict[int, _Captured]:
        """Capture all sizes, the largest first, so that the others find room in its memory."""
        pool, found = self._cuda.graph_pool_handle(), dict[int, _Captured]()
        for size in reversed(self._sizes):
            pixels = self._pixels(size, on_card=True)
            found[size] = _Captured(planner.plan(size), pixels, self._cuda, self._stream, pool)
        return found

    def _pixels(self, size: int, *, on_card: bool) -> Any:
        """Room for a batch, on the card or in pages of RAM that it reads by itself."""
        import torch

        if any(side is None for side in self.input.shape[1:]):
            raise EngineError(f"only the batch may be of any size, and the input is {self.input.shape}")
        shape, pinned = [size, *self.input.shape[1:]], self._device.type == "cuda" and not on_card
        return torch.zeros(shape, dtype=torch.uint8, device=self._device if on_card else "cpu", pin_memory=pinned)

    def _where(self) -> Device:
        """Where the answers of all graphs lie, by the tensors' own account."""
        seen = {values.device.type for one in self._graphs.values() for values in one.outputs.values()}
        if seen != {self._device.type}:
            raise EngineError(f"{self.file}: asked for {self._device.type}, and its answers lie on {sorted(seen)}")
        return "cuda" if self._device.type == "cuda" else "cpu"

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """See `Session.run`; waits while another call is computed."""
        import numpy as np
        import torch

        self.input.check(batch, self.file)
        step = self._sizes[-1]
        try:
            with self._lock, torch.inference_mode(), self._cuda.stream(self._stream):
                parts = [self._replay(batch[start : start + step]) for start in range(0, len(batch), step)]
        except RuntimeError as error:
            raise EngineError(f"{self.file}: torch failed: {error}") from None
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _replay(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Compute a batch in the smallest graph that it fits into; rows beyond it hold pictures of before."""
        import numpy as np
        import torch

        count = len(batch)
        captured = self._graphs[next(size for size in self._sizes if size >= count)]
        self._staged[:count].copy_(torch.from_numpy(np.ascontiguousarray(batch)))
        captured.pixels[:count].copy_(self._staged[:count], non_blocking=True)
        captured.graph.replay()
        # the copy to the processor waits for the stream
        return {name: values[:count].cpu().numpy().copy() for name, values in captured.outputs.items()}

    def close(self) -> None:
        """See `Session.close`; what torch holds of the card without use goes back to the driver."""
        self._graphs.clear()
        self._cuda.empty_cache()


class _Captured:
    """One CUDA graph with its static input and outputs.

    Args:
        plan: for the batch size of the pixels.
        pixels: static input, uint8 (n, height, width, 3).
        cuda: torch.cuda.
        stream: of warm-up and capture.
        pool: memory that all graphs of a session share.
    """

    def __init__(self, plan: Plan, pixels: Any, cuda: Any, stream: Any, pool: Any) -> None:
        # a graph repeats addresses and keeps nothing alive: the plan holds the weights
        self.pixels, self._plan = pixels, plan
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP):
                plan.run(pixels)
        cuda.current_stream().wait_stream(stream)
        self.graph = cuda.CUDAGraph()
        # another stage may be at work on the card in a thread of its own
        with cuda.graph(self.graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self.outputs: dict[str, Any] = plan.run(pixels)


def _read(file: Path) -> tuple[Graph, dict[str, Any], dict[str, frozenset[int]]]:
    """Read a file, fold its constants and fuse its chains; gives the operators too, and which inputs are settings."""
    import torch

    from cascade.engines.operators import OPERATORS, SETTINGS

    graph, known = read_graph(file, OPERATORS), {**OPERATORS, **operators()}
    try:
        with torch.inference_mode():
            return fuse(fold_constants(graph, known)), known, SETTINGS
    except FAILURES as error:
        raise EngineError(f"{file}: its constants cannot be computed: {error}") from None
