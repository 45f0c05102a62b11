"""Engines that run an exported classifier: one interface, and a contract that is checked at every call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL_FILE = "classifier.onnx"
CONTRACT_FILE = "contract.json"
INT8_FILE = "classifier_int8.onnx"
Kind = Literal["tensorrt", "openvino", "onnxruntime", "torch"]
Precision = Literal["int8", "bf16", "fp16", "fp32"]
BoxPrecision = Literal["fp32", "bf16", "int8"]  # of detectors


class EngineError(ValueError):
    """The model folder is unusable, or an input or output breaks the model's contract."""


class InputContract(BaseModel):
    """What goes in; None stands for the batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dtype: Literal["uint8"]
    shape: tuple[None, int, int, int]


class OutputContract(BaseModel):
    """What comes out: one float32 a picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    shape: tuple[None]


class Contract(BaseModel):
    """What `contract.json` beside the model promises.

    Attributes:
        input: what goes in.
        output: what comes out.
        min_batch: pictures a call, at least.
        optimum_batch: pictures a call that engines are built and measured for.
        max_batch: pictures a call, at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    input: InputContract
    output: OutputContract
    min_batch: int = Field(default=1, ge=1)
    optimum_batch: int = Field(default=1, ge=1)
    max_batch: int = Field(ge=1)

    def check_input(self, batch: NDArray[np.uint8]) -> None:
        """Refuse a batch of another dtype, shape or size.

        Raises:
            EngineError: says what was expected and what came.
        """
        size = "x".join(map(str, self.input.shape[1:]))
        expected = f"expected {self.input.dtype} of shape ({self.min_batch} to {self.max_batch}, {size})"
        fits = batch.ndim == 4 and batch.shape[1:] == self.input.shape[1:]
        fits = fits and self.min_batch <= len(batch) <= self.max_batch
        if str(batch.dtype) != self.input.dtype or not fits:
            raise EngineError(f"{expected}, got {batch.dtype} of shape {batch.shape}")

    def check_output(self, logit: NDArray[np.float32], n: int) -> NDArray[np.float32]:
        """Refuse anything but `n` finite numbers, which would otherwise become a confident answer."""
        import numpy as np

        if logit.shape != (n,) or not np.isfinite(logit).all():
            raise EngineError(f"expected {n} finite logits, got shape {logit.shape}: {logit.ravel()[:4].tolist()}")
        return logit.astype(np.float32)

    def check_model(self, dtype: str, shape: tuple[object, ...], outputs: list[str]) -> None:
        """Refuse a model whose own declaration differs from the contract beside it."""
        if dtype != self.input.dtype or len(shape) != 4 or shape[1:] != self.input.shape[1:]:
            expected = f"{self.input.dtype} {self.input.shape}"
            raise EngineError(f"{MODEL_FILE} takes {dtype} {shape}, but {CONTRACT_FILE} promises {expected}")
        if self.output.name not in outputs:
            raise EngineError(f"{MODEL_FILE} gives {outputs}, but {CONTRACT_FILE} promises {self.output.name}")


class Engine(Protocol):
    """A loaded model. `run` may be called from several threads at once."""

    name: str
    precision: Precision
    contract: Contract

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give the calibrated logit of every picture.

        Args:
            batch: uint8 RGB, (n, size, size, 3), n from the contract's `min_batch` to its `max_batch`.

        Returns:
            float32, (n,); `sigmoid` of it is the probability, and 0 is the MCC-optimal cut.

        Raises:
            EngineError: the input or output breaks the contract.
        """
        ...

    def close(self) -> None:
        """Give the model's memory back; `run` must not be called after."""
        ...


def load_contract(folder: Path, model: str = MODEL_FILE) -> Contract:
    """Read the contract beside a model.

    Raises:
        EngineError: the model or its contract is missing or does not fit.
    """
    path = folder / CONTRACT_FILE
    for needed in (folder / model, path):
        if not needed.is_file():
            raise EngineError(f"{needed}: no such file; `dvc repro export` writes it")
    try:
        return Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise EngineError(f"{path}: not a contract: {error}") from None


def load_engine(folder: Path, kind: Kind, precision: Precision, threads: int) -> Engine:
    """Load the classifier of a folder.

    Args:
        folder: holds the model and `contract.json`; in int8 the model is `classifier_int8.onnx`.
        kind: which library runs it.
        precision: bf16 is a wish: `Engine.precision` tells what is really in force.
        threads: processor threads of one inference.

    Raises:
        EngineError: the folder, the model or the kind is unusable.
    """
    file = INT8_FILE if precision == "int8" else MODEL_FILE
    contract = load_contract(folder, file)
    if kind == "openvino":
        from cascade.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(folder / file, contract, precision, threads)
    if kind == "onnxruntime":
        from cascade.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(folder / file, contract, threads, precision)
    if kind == "torch":
        from cascade.engines.torch import TorchEngine

        return TorchEngine(folder / MODEL_FILE, contract, threads)
    if kind == "tensorrt":
        from cascade.engines.tensorrt import TensorRTEngine

        return TensorRTEngine(folder / MODEL_FILE, contract)
    raise EngineError(f"engine {kind!r} is unknown; use tensorrt, openvino, onnxruntime or torch")
