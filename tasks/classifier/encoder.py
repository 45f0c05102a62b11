"""The frozen backbone at work: OpenVINO on a processor, torch on a graphics card."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.classifier.onnx_export import write_graph
from tasks.config.data import EmbedParams

if TYPE_CHECKING:
    from tasks.classifier.backbone import Backbone

HINTS = {"bfloat16": "bf16", "float32": "f32"}


class Pixels(Protocol):
    """Anything that carries pictures."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """RGB, (n, size, size, 3)."""


Carrier = TypeVar("Carrier", bound=Pixels)


class Encoder:
    """Pictures to features; the graph is that of `Backbone`, in the precision that `choose_dtype` names.

    On 2 cores OpenVINO takes about half of torch's time for the same tokens, and its bf16 keeps sums in fp32.

    Args:
        backbone: folder of the frozen weights.
        params: section `embed`.
        dtype: float32 or bfloat16.
    """

    def __init__(self, backbone: Path, params: EmbedParams, dtype: str) -> None:
        import torch

        from tasks.classifier.backbone import Backbone

        model = Backbone(backbone, params.layers, params.size, params.pooling).eval()
        # whole tokens are many, and were computed in half precision or close to it
        self._half = params.pooling == "none"
        self._on_cuda: Any = None
        if device() == "cuda":
            self._on_cuda = model.in_precision(getattr(torch, dtype)).to("cuda")
        else:
            self._compiled = _compile(model, params.size, dtype, self._half)

    def __call__(self, batches: Iterable[Carrier]) -> Iterator[tuple[Carrier, NDArray[Any]]]:
        """Give every batch back with a row of features a picture, (n, width): float16 for tokens, else float32.

        On a processor several batches are under way, one a core, and they come back as they are done.
        """
        if self._on_cuda is not None:
            yield from self._run_on_cuda(batches)
            return
        import openvino

        done: SimpleQueue[tuple[Carrier, NDArray[Any]]] = SimpleQueue()
        # one more waits for each that is computed, so that no core is idle while the caller writes
        count = 2 * int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        requests = openvino.AsyncInferQueue(self._compiled, count)
        requests.set_callback(lambda request, batch: done.put((batch, request.get_output_tensor(0).data.copy())))
        for batch in batches:
            requests.start_async({0: batch.pixels}, batch)
            while not done.empty():
                yield done.get()
        requests.wait_all()
        while not done.empty():
            yield done.get()

    def _run_on_cuda(self, batches: Iterable[Carrier]) -> Iterator[tuple[Carrier, NDArray[Any]]]:
        """Features (n, width) of each batch; the card has the next one before it is waited for the one before."""
        waiting: list[tuple[Carrier, Any, Any]] = []
        for batch in batches:
            waiting.append((batch, *self._begin_on_cuda(batch.pixels)))
            if len(waiting) > 1:
                yield _finished(*waiting.pop(0))
        yield from (_finished(*one) for one in waiting)

    def _begin_on_cuda(self, pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Where the features of pixels (n, size, size, 3) will stand in main memory, and what to wait for."""
        import torch

        with torch.inference_mode():
            features = self._on_cuda(torch.from_numpy(pixels).pin_memory().to("cuda", non_blocking=True))
            features = features.half() if self._half else features
            kept = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            kept.copy_(features, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        return kept, ready


def _finished(batch: Carrier, kept: Any, ready: Any) -> tuple[Carrier, NDArray[Any]]:
    ready.synchronize()
    # a copy, so that pinned memory is free for the next batch
    return batch, kept.numpy().copy()


def _compile(model: Backbone, size: int, dtype: str, half: bool) -> Any:
    """The backbone for the processor: uint8 (n, size, size, 3) to float16 or float32 (n, width)."""
    import openvino

    stream = io.BytesIO()
    write_graph(model, size, stream, ["features"])
    core = openvino.Core()
    steps = openvino.preprocess.PrePostProcessor(core.read_model(stream.getvalue(), b""))
    if half:
        steps.output().tensor().set_element_type(openvino.Type.f16)
    # not pinned, see cascade.engines.openvino.compile_settings
    hints = {"INFERENCE_PRECISION_HINT": HINTS[dtype], "PERFORMANCE_HINT": "THROUGHPUT", "ENABLE_CPU_PINNING": False}
    return core.compile_model(steps.build(), "CPU", hints)


def device() -> str:
    """Where the backbone runs: cuda where there is one, cpu otherwise."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_dtype(wanted: str) -> str:
    """Resolve `auto` by what the processor can do, never by timing: a busy machine must not choose other numbers."""
    import torch

    if wanted != "auto":
        return wanted
    if device() == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return "float32"
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"
