"""Engines for detectors: one ONNX file, one contract, and boxes in pixels of the picture that came in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade.detection.agreement import UnusableDetector, check_classes
from cascade.detection.boxes import Box, letterbox, suppress
from cascade.engines.base import BoxPrecision, Kind

if TYPE_CHECKING:
    from PIL import Image

MODEL_FILE, INT8_FILE = "detector.onnx", "detector_int8.onnx"
CONTRACT_FILE = "contract.json"
OUTPUTS = ("corners", "scores")
# of one class of one picture: more would be a wall of boxes, and suppression is quadratic
MOST = 100
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


class BoxContract(BaseModel):
    """What `contract.json` beside a detector promises.

    Attributes:
        name: of the detector, as a person calls it.
        size: px a side of the square: uint8 RGB (n, size, size, 3), the whole picture letterboxed.
        classes: of the columns of `scores`, in order.
        suppress: IoU above which the weaker of two boxes of a class goes; None where the model has none.
        floor: boxes that score less are not worth passing on.
        max_batch: pictures a call, at most.
        precision: int8 where `detector_int8.onnx` is the one to run; bf16 where engine and processor have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    size: int = Field(ge=32, le=4096)
    classes: tuple[str, ...]
    resize: Literal["letterbox"]
    suppress: float | None = Field(ge=0, le=1)
    floor: float = Field(ge=0, lt=1)
    max_batch: int = Field(ge=1)
    precision: BoxPrecision = "fp32"


class Session(Protocol):
    """A loaded network; may be called from several threads at once."""

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """Give corners (n, boxes, 4) as shares of the square, and scores (n, boxes, classes)."""
        ...


class BoxEngine:
    """A detector of a folder.

    Args:
        folder: holds detector.onnx and contract.json.
        kind: openvino or onnxruntime.
        threads: processor threads of one inference.

    Raises:
        UnusableDetector: the folder is incomplete, the model broken, or its classes are not ours.
    """

    def __init__(self, folder: Path, kind: Kind, threads: int) -> None:
        self.contract = load_contract(folder)
        file = INT8_FILE if self.contract.precision == "int8" else MODEL_FILE
        self._session = open_session(folder / file, kind, threads, self.contract.precision)

    def see(self, images: Sequence[Image.Image]) -> list[list[Box]]:
        """Find objects.

        Args:
            images: upright RGB, any size.

        Returns:
            One list a picture, best boxes first, in pixels of that picture.

        Raises:
            UnusableDetector: the network's answer is no answer.
        """
        step = self.contract.max_batch
        return [seen for start in range(0, len(images), step) for seen in self._batch(images[start : start + step])]

    def _batch(self, images: Sequence[Image.Image]) -> list[list[Box]]:
        squares = [letterbox(image, self.contract.size) for image in images]
        corners, scores = self._run(np.stack([pixels for pixels, _ in squares]))
        answers = []
        for image, (_, placement), picture_corners, picture_scores in zip(
            images, squares, corners, scores, strict=True
        ):
            where = placement.back(picture_corners.astype(np.float64) * self.contract.size)
            where = where.clip(0, np.array([image.width, image.height] * 2))
            answers.append(boxes_of(where, picture_scores.astype(np.float64), self.contract))
        return answers

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        corners, scores = self._session(batch)
        shape = (len(batch), scores.shape[1] if scores.ndim == 3 else -1, len(self.contract.classes))
        fits = scores.shape == shape and corners.shape == (*shape[:2], 4)
        if not fits or not (np.isfinite(corners).all() and np.isfinite(scores).all()):
            raise UnusableDetector(
                f"{self.contract.name}: expected finite corners and scores of {len(batch)} pictures and "
                f"{len(self.contract.classes)} classes, got {corners.shape} and {scores.shape}"
            )
        return corners, scores


def boxes_of(corners: NDArray[np.float64], scores: NDArray[np.float64], contract: BoxContract) -> list[Box]:
    """Turn one picture's numbers into boxes: the floor, at most a hundred a class, suppression; best first.

    Args:
        corners: (n, 4) in pixels of the picture.
        scores: (n, classes).
        contract: names, floor and suppression.
    """
    found = []
    for column, category in enumerate(contract.classes):
        rows = np.flatnonzero(scores[:, column] >= contract.floor)
        rows = rows[np.argsort(-scores[rows, column], kind="stable")][:MOST]
        if contract.suppress is not None:
            rows = rows[suppress(corners[rows], scores[rows, column], contract.suppress)]
        for row in rows:
            x1, y1, x2, y2 = (float(value) for value in corners[row])
            if x2 > x1 and y2 > y1:
                found.append(Box(category, min(1.0, float(scores[row, column])), (x1, y1, x2, y2)))
    return sorted(found, key=lambda box: -box.score)


def load_contract(folder: Path) -> BoxContract:
    """Read the contract beside a detector and check its classes.

    Raises:
        UnusableDetector: files are missing, the contract is none, or its classes are not ours.
    """
    path = folder / CONTRACT_FILE
    for needed in (folder / MODEL_FILE, path):
        if not needed.is_file():
            raise UnusableDetector(f"{needed}: no such file; `dvc repro detect` writes it")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        # first, since a COCO export has its own contract or none: the reason shall not be a missing key
        if isinstance(document, dict) and isinstance(document.get("classes"), list):
            check_classes([str(name) for name in document["classes"]], str(folder))
        return BoxContract.model_validate(document)
    except UnusableDetector:
        raise
    except (ValidationError, ValueError) as error:
        raise UnusableDetector(f"{path}: not a detector's contract: {error}") from None


def open_session(model: Path, kind: Kind, threads: int, precision: BoxPrecision = "fp32") -> Session:
    """Load a network, with TensorRT the engine that was built from it.

    Args:
        model: ONNX, int8 where the precision is.
        kind: which library runs it.
        threads: processor threads of one inference.
        precision: bf16 matters to OpenVINO alone.

    Raises:
        UnusableDetector: the library cannot load it, or it has other inputs and outputs.
    """
    try:
        if kind == "tensorrt":
            return _tensorrt(model)
        session = _onnxruntime(model, threads) if kind == "onnxruntime" else _openvino(model, threads, precision)
    except UnusableDetector:
        raise
    # the libraries' own exceptions share no base class but this
    except Exception as error:
        raise UnusableDetector(f"{model}: {kind} cannot load it: {str(error).splitlines()[0]}") from None
    return session


def _onnxruntime(model: Path, threads: int) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    _check(model, [item.name for item in session.get_inputs()], [item.name for item in session.get_outputs()])
    name = session.get_inputs()[0].name

    def run(batch: NDArray[np.uint8]) -> Arrays:
        corners, scores = session.run(list(OUTPUTS), {name: batch})
        return corners, scores

    return run


def _openvino(model: Path, threads: int, precision: BoxPrecision) -> Session:
    import openvino

    from cascade.engines.openvino import compile_settings

    core = openvino.Core()
    compiled: Any = core.compile_model(core.read_model(model), "CPU", compile_settings(core, precision, threads))
    # a tensor may have several names
    outputs = [name for item in compiled.outputs for name in item.names]
    _check(model, [item.any_name for item in compiled.inputs], sorted(outputs))

    def run(batch: NDArray[np.uint8]) -> Arrays:
        # a request serves one thread at a time; making one costs little beside a picture
        answer = compiled.create_infer_request().infer([batch])
        corners, scores = (np.array(answer[name]) for name in OUTPUTS)
        return corners, scores

    return run


def _tensorrt(model: Path) -> Session:
    from cascade.engines.tensorrt import TensorRTSession, engine_file

    session = TensorRTSession(engine_file(model))
    _check(model, [session.input], session.outputs)

    def run(batch: NDArray[np.uint8]) -> Arrays:
        answer = session.run(batch)
        corners, scores = (answer[name] for name in OUTPUTS)
        return corners, scores

    return run


def _check(model: Path, inputs: list[str], outputs: list[str]) -> None:
    if len(inputs) != 1 or not set(OUTPUTS) <= set(outputs):
        raise UnusableDetector(f"{model}: takes {inputs} and gives {outputs}; expected one input, and {list(OUTPUTS)}")
