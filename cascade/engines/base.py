"""What all engines share: the names of libraries and precisions, the interface of a session, and the error they raise.

A session (`openvino.py`, `onnxruntime.py`, `tensorrt.py`, `torch.py`, `torch_cuda.py`) loads a model and computes its
outputs by name. `load.py` opens one by the name of its library. Two wrappers put a contract on it: `classifier.py`
(a logit an image) and `boxes.py` (corners and scores).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["tensorrt", "torch_cuda", "openvino", "onnxruntime", "torch"]
Device = Literal["cpu", "cuda"]
Precision = Literal["int8", "bf16", "fp16", "fp32"]
BoxPrecision = Literal["fp32", "fp16", "bf16", "int8"]  # of detectors
# engines that compute on a graphics card, and nowhere else
ON_CARD: tuple[Kind, ...] = ("tensorrt", "torch_cuda")


def device_of(kind: str) -> Device:
    """Where an engine computes, and whose memory it takes."""
    return "cuda" if kind in ON_CARD else "cpu"


class EngineError(ValueError):
    """A model cannot be loaded or run, or an input or output breaks the model's contract."""


@dataclass(frozen=True)
class ModelInput:
    """The only input of a model, as the model declares it.

    Attributes:
        name: of the tensor.
        dtype: as numpy names it, such as uint8; the library's own name where it has no counterpart here.
        shape: None for a dynamic axis.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def check(self, batch: NDArray[np.uint8], model: Path) -> None:
        """Refuse a batch of another dtype or shape: OpenVINO would read it wrongly without a word.

        Raises:
            EngineError: names the model, what it takes and what came.
        """
        sides = zip(self.shape, batch.shape, strict=False)
        fits = batch.ndim == len(self.shape) and all(given in (None, side) for given, side in sides)
        if not fits or str(batch.dtype) != self.dtype:
            raise EngineError(f"{model}: takes {self.dtype} {self.shape}, got {batch.dtype} {batch.shape}")


class Session(Protocol):
    """A loaded model with one input. `run` may be called from several threads at once.

    Attributes:
        kind: the engine, by its library.
        device: where it computes.
        precision: in force, which may be less than was asked for: a processor without bf16 computes in fp32.
        int8_share: share of matrix products and convolutions that are computed on bytes; None where int8 was not asked
            for or the library does not tell.
        file: that was loaded.
        input: the model's input.
        outputs: names of the model's outputs.
        batches: least and most images a call; None where the library takes any number.
    """

    kind: Kind
    device: Device
    precision: Precision
    int8_share: float | None
    file: Path
    input: ModelInput
    outputs: tuple[str, ...]
    batches: tuple[int, int] | None

    def run(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Compute all outputs.

        Args:
            batch: of the input's dtype and shape, (n, height, width, 3) for all models of this project.

        Returns:
            The outputs by name; their first axis is n.

        Raises:
            EngineError: the batch does not fit the model, or the library fails.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; `run` must not be called afterwards."""
        ...
