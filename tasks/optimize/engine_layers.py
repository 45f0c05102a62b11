"""Precision of a TensorRT engine's layers, as its own inspector tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# layers that move numbers or hold them, and compute none
NO_WORK = {"Reformat", "NoOp", "Constant", "Shuffle", "Identity", "Cast", "Copy", "Signal", "Wait"}
HALF, FULL = ("half", "fp16"), ("float", "fp32", "tf32")


class InspectError(ValueError):
    """The inspector's text tells no precision, or another one than was asked for."""


@dataclass(frozen=True)
class LayerShare:
    """How much of an engine computes in FP16.

    Attributes:
        half: layers with an FP16 output.
        layers: layers with a floating-point output.
        tensors: names of the engine's own inputs and outputs.
    """

    half: int
    layers: int
    tensors: tuple[str, ...]

    @property
    def share(self) -> float:
        """FP16 share of the layers with a floating-point output, 0 to 1."""
        return round(self.half / self.layers, 4)


def layer_share(text: str) -> LayerShare:
    """Read `EngineInspector.get_engine_information(LayerInformationFormat.JSON)` of TensorRT 10 or 11.

    The engine must have been built with ProfilingVerbosity.DETAILED, and an execution context with a shape must have
    been given to the inspector: else formats read "N/A due to dynamic shapes".

    Raises:
        InspectError: the text is not JSON or tells no layer's precision.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InspectError(f"the engine inspector's text is not JSON: {error}") from None
    layers = [layer for layer in document.get("Layers", []) if isinstance(layer, dict)]
    found = [half for layer in layers if (half := _is_half(layer)) is not None]
    if not found:
        raise InspectError(
            f"the engine inspector tells the precision of none of {len(document.get('Layers', []))} layers; "
            "build with detailed profiling verbosity"
        )
    return LayerShare(sum(found), len(found), tuple(_tensors(document)))


def _is_half(layer: Mapping[str, Any]) -> bool | None:
    """Whether a layer's first floating-point output is FP16; None where it has none or does no work."""
    if layer.get("LayerType") in NO_WORK:
        return None
    for tensor in layer.get("Outputs", []):
        words = str(tensor.get("Format/Datatype", tensor.get("Datatype", tensor.get("Format", "")))).lower()
        # "bf16" does not contain "fp16"; "bfloat16" contains "float16" and "float"
        if any(word in words for word in HALF) or "float16" in words.replace("bfloat16", ""):
            return True
        if any(word in words for word in FULL) and "bfloat" not in words:
            return False
        if "bf16" in words or "bfloat16" in words:
            return False
    return None


def _tensors(document: Mapping[str, Any]) -> Iterator[str]:
    """Names of the engine's own inputs and outputs: a list of names in TensorRT 10, of objects in 11."""
    for tensor in document.get("I/O Tensors", document.get("Bindings", [])):
        yield str(tensor["Name"]) if isinstance(tensor, dict) else str(tensor)


def check_share(share: LayerShare, least: float, name: str) -> None:
    """Refuse an FP32 engine that is labelled FP16.

    Args:
        share: of the engine.
        least: FP16 share that is asked for.
        name: of the engine, for the message.

    Raises:
        InspectError: too few layers are FP16.
    """
    if share.share < least:
        raise InspectError(
            f"{name}: {share.half} of {share.layers} layers ({share.share:.1%}) are Half; "
            f"export.tensorrt.min_half_share asks for {least:.0%}. The engine is FP32 under another name: "
            "build it from the FP16 graph"
        )
