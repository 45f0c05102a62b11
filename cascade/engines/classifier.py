"""The exported classifier of a folder: a session with a contract that is checked at every call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade.engines.base import Device, EngineError, Kind, Precision, Session
from cascade.engines.load import open_session
from cascade.engines.torch_cuda import sizes_up_to

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL_FILE = "classifier.onnx"
CONTRACT_FILE = "contract.json"
INT8_FILE = "classifier_int8.onnx"
# libraries that run the quantized graph; the others compute in what they can do of the plain one
INT8_KINDS: tuple[Kind, ...] = ("openvino", "onnxruntime")


class InputContract(BaseModel):
    """What the model takes: uint8 RGB, (n, height, width, 3); None stands for n."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    dtype: Literal["uint8"]
    shape: tuple[None, int, int, int]


class OutputContract(BaseModel):
    """What the model gives: one float32 an image, (n,)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    shape: tuple[None]


class Contract(BaseModel):
    """`contract.json` beside a classifier.

    Attributes:
        input: dtype and shape of the images.
        output: name and shape of the logits.
        min_batch: least images a call.
        optimum_batch: images a call that engines are built and measured for.
        max_batch: most images a call.
        graphs: batch sizes that CUDA graphs are captured for; empty: powers of two, up to `max_batch`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    input: InputContract
    output: OutputContract
    min_batch: int = Field(default=1, ge=1)
    optimum_batch: int = Field(default=1, ge=1)
    max_batch: int = Field(ge=1)
    graphs: tuple[Annotated[int, Field(ge=1)], ...] = ()

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
        """Refuse anything but `n` finite numbers: a NaN would become a confident answer.

        Raises:
            EngineError: says what was expected and what came.
        """
        import numpy as np

        if logit.shape != (n,) or not np.isfinite(logit).all():
            raise EngineError(f"expected {n} finite logits, got shape {logit.shape}: {logit.ravel()[:4].tolist()}")
        return logit.astype(np.float32)

    def check_session(self, session: Session) -> None:
        """Refuse a model whose own declaration differs from the contract beside it.

        Raises:
            EngineError: input, output or batches differ.
        """
        given, name = session.input, session.file.name
        if given.dtype != self.input.dtype or len(given.shape) != 4 or given.shape[1:] != self.input.shape[1:]:
            expected = f"{self.input.dtype} {self.input.shape}"
            raise EngineError(f"{name} takes {given.dtype} {given.shape}, but {CONTRACT_FILE} promises {expected}")
        if self.output.name not in session.outputs:
            raise EngineError(f"{name} gives {list(session.outputs)}, but {CONTRACT_FILE} promises {self.output.name}")
        least, most = session.batches or (self.min_batch, self.max_batch)
        if most < self.max_batch or least > self.min_batch:
            raise EngineError(
                f"{session.file}: built for {least} to {most} pictures, the contract promises "
                f"{self.min_batch} to {self.max_batch}; `dvc repro export` builds it again"
            )


class ClassifierEngine:
    """A loaded classifier. `run` may be called from several threads at once.

    Args:
        session: the model; `close` closes it.
        contract: what the model must keep.

    Raises:
        EngineError: the model does not fit the contract.
    """

    def __init__(self, session: Session, contract: Contract) -> None:
        contract.check_session(session)
        self.contract, self._session = contract, session

    @property
    def name(self) -> Kind:
        """The library."""
        return self._session.kind

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._session.device

    @property
    def precision(self) -> Precision:
        """What it computes in, which may be less than was asked for."""
        return self._session.precision

    def run(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Give the calibrated logit of every image.

        Args:
            batch: uint8 RGB, (n, size, size, 3), n from the contract's `min_batch` to its `max_batch`.

        Returns:
            float32, (n,); `sigmoid` of it is the probability, and 0 is the MCC-optimal cut.

        Raises:
            EngineError: the input or output breaks the contract, or the library fails.
        """
        self.contract.check_input(batch)
        return self.contract.check_output(self._session.run(batch)[self.contract.output.name], len(batch))

    def close(self) -> None:
        """Free the model's memory; `run` must not be called afterwards."""
        self._session.close()


def load_contract(folder: Path, model: str = MODEL_FILE) -> Contract:
    """Read the contract beside a classifier.

    Raises:
        EngineError: the model or its contract is missing or unreadable.
    """
    path = folder / CONTRACT_FILE
    for needed in (folder / model, path):
        if not needed.is_file():
            raise EngineError(f"{needed}: no such file; `dvc repro export` writes it")
    try:
        return Contract.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise EngineError(f"{path}: not a contract: {error}") from None


def load_engine(folder: Path, kind: Kind, precision: Precision, threads: int) -> ClassifierEngine:
    """Load the classifier of a folder.

    Args:
        folder: holds the model and `contract.json`; in int8 the model is `classifier_int8.onnx`.
        kind: which library runs it.
        precision: asked for; `ClassifierEngine.precision` says what is in force.
        threads: processor threads of one inference.

    Raises:
        EngineError: the folder, the model or the kind is unusable, or a model said to be int8 is not.
    """
    file = INT8_FILE if precision == "int8" and kind in INT8_KINDS else MODEL_FILE
    contract = load_contract(folder, file)
    sizes = contract.graphs or sizes_up_to(contract.max_batch)
    session = open_session(folder / file, kind, precision, threads, fixed_one=True, sizes=sizes)
    try:
        if precision == "int8":
            _check_int8(session)
        return ClassifierEngine(session, contract)
    except EngineError:
        session.close()
        raise


def _check_int8(session: Session) -> None:
    """Refuse a floating-point graph that is labelled int8."""
    if session.int8_share is not None and session.precision != "int8":
        raise EngineError(
            f"{session.file}: said to be int8, but OpenVINO runs only {session.int8_share:.0%} of its matrix products "
            "on bytes; `dvc repro export` quantizes it"
        )
