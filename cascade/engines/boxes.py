"""The exported detector of a folder: a session with a contract, and boxes in pixels of the image that came in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascade.detection.agreement import UnusableDetector, check_classes
from cascade.detection.boxes import Box, letterbox, suppress
from cascade.engines.base import BoxPrecision, Device, EngineError, Kind, Precision
from cascade.engines.load import open_session
from cascade.engines.torch_cuda import sizes_up_to

if TYPE_CHECKING:
    from PIL import Image

MODEL_FILE, INT8_FILE = "detector.onnx", "detector_int8.onnx"
CONTRACT_FILE = "contract.json"
OUTPUTS = ("corners", "scores")
# boxes of one class of one image: suppression is quadratic in them
MOST_BOXES = 100
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


class BoxContract(BaseModel):
    """`contract.json` beside a detector.

    Attributes:
        name: of the detector, for people.
        size: px a side of the input, uint8 RGB (n, size, size, 3): the whole image, letterboxed.
        classes: of the columns of `scores`, in order.
        suppress: IoU above which the weaker of two boxes of a class is dropped; None for a model that needs no
            suppression.
        floor: least score of a box that is passed on.
        max_batch: most images a call.
        precision: int8: `detector_int8.onnx` is loaded; fp16: `detector.fp16.onnx`, on a GPU alone; bf16: used where
            library and processor have it.
        graphs: batch sizes that CUDA graphs are captured for; empty: powers of two, up to `max_batch`.
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
    graphs: tuple[Annotated[int, Field(ge=1)], ...] = ()


class BoxNetwork:
    """A loaded detector without its contract: squares in, corners and scores out.

    Args:
        model: ONNX, quantized where the precision is int8.
        kind: which library runs it.
        threads: processor threads of one inference.
        precision: asked for; `precision` says what is in force.
        sizes: of batches that are captured, see `open_session`.

    Raises:
        UnusableDetector: the library cannot load it, or it has other inputs and outputs.
    """

    def __init__(
        self, model: Path, kind: Kind, threads: int, precision: BoxPrecision = "fp32", sizes: Sequence[int] = (1,)
    ) -> None:
        try:
            self._session = open_session(model, kind, precision, threads, sizes=sizes)
        except EngineError as error:
            raise UnusableDetector(str(error)) from None
        if not set(OUTPUTS) <= set(self._session.outputs):
            raise UnusableDetector(f"{model}: gives {list(self._session.outputs)}; expected {list(OUTPUTS)}")
        self.device: Device = self._session.device
        self.precision: Precision = self._session.precision

    def run(self, batch: NDArray[np.uint8]) -> Arrays:
        """Compute a batch. May be called from several threads at once.

        Args:
            batch: uint8 RGB, (n, size, size, 3).

        Returns:
            Corners (n, boxes, 4): left, top, right and bottom as shares of the square; scores (n, boxes, classes).

        Raises:
            UnusableDetector: the library refuses the batch or fails.
        """
        try:
            found = self._session.run(batch)
        except EngineError as error:
            raise UnusableDetector(str(error)) from None
        corners, scores = (found[name] for name in OUTPUTS)
        return corners, scores

    def close(self) -> None:
        """Free the model's memory; `run` must not be called afterwards."""
        self._session.close()


class BoxEngine:
    """A detector of a folder.

    Args:
        folder: holds detector.onnx and contract.json.
        kind: which library runs it.
        threads: processor threads of one inference.

    Raises:
        UnusableDetector: the folder is incomplete, the model broken, or its classes are not ours.
    """

    def __init__(self, folder: Path, kind: Kind, threads: int) -> None:
        self.contract = load_contract(folder)
        file = INT8_FILE if self.contract.precision == "int8" else MODEL_FILE
        sizes = self.contract.graphs or sizes_up_to(self.contract.max_batch)
        self._network = BoxNetwork(folder / file, kind, threads, self.contract.precision, sizes)

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._network.device

    @property
    def precision(self) -> Precision:
        """What it computes in, which may be less than the contract asks for."""
        return self._network.precision

    def see(self, images: Sequence[Image.Image]) -> list[list[Box]]:
        """Find objects.

        Args:
            images: upright RGB, any size.

        Returns:
            One list an image, best boxes first, in pixels of that image.

        Raises:
            UnusableDetector: the library fails, or its outputs are not finite or of another shape.
        """
        step = self.contract.max_batch
        return [seen for start in range(0, len(images), step) for seen in self._batch(images[start : start + step])]

    def close(self) -> None:
        """Free the model's memory; `see` must not be called afterwards."""
        self._network.close()

    def _batch(self, images: Sequence[Image.Image]) -> list[list[Box]]:
        squares = [letterbox(image, self.contract.size) for image in images]
        corners, scores = self._checked(np.stack([pixels for pixels, _ in squares]))
        found = []
        for image, (_, placement), image_corners, image_scores in zip(images, squares, corners, scores, strict=True):
            where = placement.back(image_corners.astype(np.float64) * self.contract.size)
            where = where.clip(0, np.array([image.width, image.height] * 2))
            found.append(boxes_of(where, image_scores.astype(np.float64), self.contract))
        return found

    def _checked(self, batch: NDArray[np.uint8]) -> Arrays:
        """Compute a batch and refuse what is not finite corners and scores of it."""
        corners, scores = self._network.run(batch)
        shape = (len(batch), scores.shape[1] if scores.ndim == 3 else -1, len(self.contract.classes))
        fits = scores.shape == shape and corners.shape == (*shape[:2], 4)
        if not fits or not (np.isfinite(corners).all() and np.isfinite(scores).all()):
            raise UnusableDetector(
                f"{self.contract.name}: expected finite corners and scores of {len(batch)} pictures and "
                f"{len(self.contract.classes)} classes, got {corners.shape} and {scores.shape}"
            )
        return corners, scores


def boxes_of(corners: NDArray[np.float64], scores: NDArray[np.float64], contract: BoxContract) -> list[Box]:
    """Turn one image's numbers into boxes, best first.

    A box below the floor is dropped; of each class the best `MOST_BOXES` stay, less those that suppression drops.

    Args:
        corners: (n, 4), left, top, right and bottom in pixels of the image.
        scores: (n, classes), 0 to 1.
        contract: names, floor and suppression.
    """
    found = []
    for column, category in enumerate(contract.classes):
        rows = np.flatnonzero(scores[:, column] >= contract.floor)
        rows = rows[np.argsort(-scores[rows, column], kind="stable")][:MOST_BOXES]
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
        UnusableDetector: a file is missing, the contract is invalid, or its classes are not ours.
    """
    path = folder / CONTRACT_FILE
    for needed in (folder / MODEL_FILE, path):
        if not needed.is_file():
            raise UnusableDetector(f"{needed}: no such file; `dvc repro detect` writes it")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        # classes first: a COCO export has a contract of its own, and its classes are the reason that helps
        if isinstance(document, dict) and isinstance(document.get("classes"), list):
            check_classes([str(name) for name in document["classes"]], str(folder))
        return BoxContract.model_validate(document)
    except UnusableDetector:
        raise
    except (ValidationError, ValueError) as error:
        raise UnusableDetector(f"{path}: not a detector's contract: {error}") from None
