"""Choose the engine for a machine: the first of `ORDER` that can run on it, and why those before it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from cascade.engines.base import ON_CARD, EngineError, Kind, Precision
from cascade.extras import missing

# what computes on a GPU first
ORDER: tuple[Kind, ...] = (*ON_CARD, "openvino", "onnxruntime", "torch")
# precisions of each engine, best first
ABLE: dict[Kind, tuple[Precision, ...]] = {
    "tensorrt": ("fp16", "fp32"),
    "torch_cuda": ("fp16", "fp32"),
    "openvino": ("int8", "bf16", "fp32"),
    "onnxruntime": ("int8", "fp32"),
    "torch": ("fp32",),
}
# a container may see the second card alone, /dev/nvidia1
DEVICES, NVIDIA = Path("/dev"), "nvidia[0-9]*"
NO_GPU = "this machine has no NVIDIA GPU"
NO_CARD = "memory.gpu_gib is 0: no stage may use a GPU"


@dataclass(frozen=True)
class EngineChoice:
    """An engine and its precision.

    Attributes:
        skipped: the engines before it in `ORDER`, and why each cannot run here.
    """

    kind: Kind
    precision: Precision
    skipped: dict[str, str] = field(default_factory=dict)


def choose_engine(
    wanted: Kind | Literal["auto"],
    precision: Precision,
    folder: Path | None = None,
    obstacles: Mapping[Kind, Callable[[Path | None], str | None]] | None = None,
    *,
    card: bool = True,
    key: str = "export.engine",
) -> EngineChoice:
    """Choose an engine for this machine.

    Args:
        wanted: a kind, which is then the only one, or `auto`.
        precision: asked for; an engine that cannot run it gets the nearest that it can run.
        folder: of the model, where a TensorRT engine must lie; None where it is still to be built.
        obstacles: why each kind cannot run on this machine, None where it can; by default `OBSTACLES`.
        card: whether the profile lets stages use a GPU, `memory.gpu_gib`.
        key: of params.yaml, for the message.

    Raises:
        EngineError: none can run; names each with the reason.
    """
    skipped: dict[str, str] = {}
    for kind in ORDER if wanted == "auto" else (wanted,):
        reason = (obstacles or OBSTACLES)[kind](folder) or (NO_CARD if kind in ON_CARD and not card else None)
        if reason is None:
            return EngineChoice(kind, _nearest(kind, precision), skipped)
        skipped[kind] = reason
    reasons = "; ".join(f"{kind}: {reason}" for kind, reason in skipped.items())
    raise EngineError(f"no engine can run here: {reasons}. Set {key} to one that this machine has")


def _nearest(kind: Kind, precision: Precision) -> Precision:
    able = ABLE[kind]
    if precision in able:
        return precision
    # half precision is asked for where the machine may have either kind of it
    return next((one for one in able if one in ("bf16", "fp16") and precision != "fp32"), "fp32")


def no_tensorrt(folder: Path | None) -> str | None:
    """Name what TensorRT lacks here: the card, the library or an engine built for both."""
    if not has_card():
        return NO_GPU
    if find_spec("tensorrt") is None:
        return missing("it", "tensorrt")
    if folder is not None and not any(folder.glob("*.engine")):
        return f"{folder} holds no TensorRT engine for this machine"
    return None


def no_torch_cuda(_: Path | None) -> str | None:
    """Name what torch lacks here to compute on a GPU: the card, or the libraries."""
    if not has_card():
        return NO_GPU
    if absent := _no_package("torch", "onnx")(None):
        return absent
    return "torch is built for processors alone" if version("torch").endswith("+cpu") else None


def has_card() -> bool:
    """Whether this machine, or container, has a device of NVIDIA's driver."""
    return any(DEVICES.glob(NVIDIA))


def _no_package(*names: str) -> Callable[[Path | None], str | None]:
    def obstacle(_: Path | None) -> str | None:
        absent = [name for name in names if find_spec(name) is None]
        return missing("it", *absent) if absent else None

    return obstacle


OBSTACLES: dict[Kind, Callable[[Path | None], str | None]] = {
    "tensorrt": no_tensorrt,
    "torch_cuda": no_torch_cuda,
    "openvino": _no_package("openvino"),
    "onnxruntime": _no_package("onnxruntime"),
    "torch": _no_package("torch", "onnx"),
}
