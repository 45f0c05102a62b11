"""The frozen backbone at work: OpenVINO on a processor, torch on a graphics card."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.config import EmbedParams

if TYPE_CHECKING:
    from tasks.trunk import Trunk

OPSET = 17
HINTS = {"bfloat16": "bf16", "float32": "f32"}


class Encoder:
    """Pictures to features; the graph is that of `tasks.trunk.Trunk`, in the precision that `choose_dtype` names.

    On 2 cores OpenVINO takes about half of torch's time for the same tokens, and its bf16 keeps sums in fp32.

    Args:
        backbone: folder of the frozen weights.
        params: section `embed`.
        dtype: float32 or bfloat16.
    """

    def __init__(self, backbone: Path, params: EmbedParams, dtype: str) -> None:
        import torch

        from tasks.trunk import Trunk

        trunk = Trunk(backbone, params.layers, params.size, params.pooling).eval()
        self.pooling = params.pooling
        self._trunk: Any = None
        if device() == "cuda":
            self._trunk = trunk.in_precision(getattr(torch, dtype)).to("cuda")
        else:
            self._compiled = _compile(trunk, params.size, dtype)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Give a row of features a picture.

        Args:
            pixels: uint8 RGB, (n, size, size, 3).

        Returns:
            (n, width); whole tokens in float16, since they are many and were computed in half precision or close to
            it, statistics in float32.
        """
        features = self._on_card(pixels) if self._trunk is not None else self._compiled(pixels)[0]
        return np.asarray(features, dtype=np.float16 if self.pooling == "none" else np.float32)

    def _on_card(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            return self._trunk(torch.from_numpy(pixels).to("cuda")).cpu().numpy()  # type: ignore[no-any-return]


def _compile(trunk: Trunk, size: int, dtype: str) -> Any:
    import openvino
    import torch

    stream, example = io.BytesIO(), torch.zeros(2, size, size, 3, dtype=torch.uint8)
    # the older exporter, as for the classifier; it warns that it is the older one
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            trunk,
            (example,),
            stream,
            input_names=["image"],
            output_names=["features"],
            dynamic_axes={"image": {0: "batch"}, "features": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    core = openvino.Core()
    network = core.read_model(stream.getvalue(), b"")
    return core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[dtype], "PERFORMANCE_HINT": "LATENCY"})


def versions() -> dict[str, str]:
    """What computes the features, for their fingerprint."""
    if device() == "cuda":
        import torch

        return {"torch": torch.__version__}
    import openvino

    return {"openvino": str(openvino.__version__)}


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
