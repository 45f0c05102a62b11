"""Stage 4: text on signs. Two roadwork keywords on one picture make it roadwork; otherwise there is no estimate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import JsonValue

from cascade.config.ocr import OcrParams
from cascade.extras import require
from cascade.ocr.florence import FlorenceReader
from cascade.ocr.keywords import KeywordHit, find_keywords
from cascade.ocr.lines import OcrError, TextLine, TextReader, around
from cascade.process.card import return_unused
from cascade.process.memory import Meter
from cascade.stages.base import StageResult

if TYPE_CHECKING:
    from PIL import Image

# measured with RapidOCR's small models on one picture; the memory manager replaces it by its own measurement
RAPIDOCR_BYTES = 400_000_000
# px; smaller pictures are enlarged to it before lines are detected
SHORTER_SIDE = 448


class OcrStage:
    """Reads a picture and counts keywords.

    Args:
        params: section `ocr`.
        folder: of the stage in a release; holds Florence-2 where that is the backend.
    """

    name = "ocr"

    def __init__(self, params: OcrParams, folder: Path) -> None:
        self.params = params
        self.memory_bytes = RAPIDOCR_BYTES if params.backend == "rapidocr" else 0
        # RapidOCR runs on onnxruntime's processor build
        self.device = params.device if params.backend == "florence2" else "cpu"
        self.precision = ocr_precision(params)
        self._folder = folder
        self._reader: TextReader | None = None
        if params.backend == "off":
            raise OcrError("ocr.backend is off")
        if params.backend == "florence2":
            require("Florence-2", "torch", "torchvision", "transformers")
            self._check_folder()

    def load(self) -> None:
        """See `Stage.load`; raises OcrError where files are missing: nothing is ever downloaded."""
        from PIL import Image

        meter = Meter(self.device)
        rapid = self.params.backend == "rapidocr"
        reader: TextReader = RapidReader(self.params.threads) if rapid else FlorenceReader(self._folder, self.params)
        # models are created at the first picture with text; a grey one makes at least the detector
        reader.read([Image.new("RGB", (64, 64), (128, 128, 128))])
        self._reader = reader
        self.memory_bytes = meter.taken() or self.memory_bytes

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`; its detail holds `lines` (text, score, box in px) and `keywords`."""
        if self._reader is None:
            raise RuntimeError("the OCR stage is not loaded; call load() first")
        batches = [images] if self._reader.reads_together else [[image] for image in images]
        return [result for batch in batches for result in self._read(self._reader, batch)]

    def unload(self) -> None:
        """See `Stage.unload`."""
        self._reader = None
        return_unused()

    def _read(self, reader: TextReader, images: Sequence[Image.Image]) -> list[StageResult]:
        start = time.perf_counter()
        scales = [min(1.0, self.params.max_side / max(image.size)) for image in images]
        read = reader.read([_shrunk(image, scale) for image, scale in zip(images, scales, strict=True)])
        found = [self._found(lines, scale) for lines, scale in zip(read, scales, strict=True)]
        milliseconds = round((time.perf_counter() - start) * 1000, 3)
        return [self._result(lines, hits, milliseconds, len(images)) for lines, hits in found]

    def _found(self, read: list[TextLine], scale: float) -> tuple[list[TextLine], list[KeywordHit]]:
        """Lines of a picture from top to bottom, in its own pixels, and the keywords in them."""
        sure = [line.enlarged(scale) for line in read if (line.score or 1.0) >= self.params.min_score]
        lines = sorted(sure, key=lambda line: line.box[1])
        return lines, find_keywords([line.text for line in lines], self.params.min_similarity)

    def _result(self, lines: list[TextLine], hits: list[KeywordHit], milliseconds: float, batch: int) -> StageResult:
        enough = len(hits) >= self.params.min_words
        detail: dict[str, JsonValue] = {
            "lines": [{"text": line.text, "score": line.score, "box": list(line.box)} for line in lines],
            "keywords": [{"word": hit.keyword.name, "language": hit.keyword.language} for hit in hits],
        }
        if enough:
            names = ", ".join(hit.keyword.name for hit in hits)
            detail["summary"] = f"ocr reads {len(hits)} roadwork keywords ({names})"
        return StageResult(
            stage=self.name,
            probability=self.params.probability if enough else None,
            verdict="roadwork" if enough else "undecided",
            milliseconds=milliseconds,
            batch=batch,
            detail=detail,
        )

    def _check_folder(self) -> None:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (self._folder / name).is_file():
                raise OcrError(f"{self._folder / name}: no such file; `streetvision download` fetches Florence-2")


def ocr_precision(params: OcrParams) -> str:
    """What the text reader computes in."""
    return "bf16" if params.backend == "florence2" and params.device == "cuda" else "fp32"


class RapidReader:
    """RapidOCR with the PP-OCR models that ship in its wheel; it reads one picture at a time.

    Raises:
        OcrError: the wheel lacks a model; RapidOCR would download it.
    """

    reads_together = False

    def __init__(self, threads: int) -> None:
        import rapidocr

        models = Path(rapidocr.__file__).parent / "models"
        for kind in ("det", "rec"):
            if not any(models.glob(f"*_{kind}_*.onnx")):
                raise OcrError(f"{models}: the wheel of rapidocr holds no {kind} model")
        engine = "EngineConfig.onnxruntime"
        # signs stand upright, so the classifier of turned lines is not needed
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.use_cls": False,
                # by default small pictures are blown up to 736 px, which triples the time and shows nothing new
                "Det.limit_side_len": SHORTER_SIDE,
                f"{engine}.intra_op_num_threads": threads,
                f"{engine}.inter_op_num_threads": 1,
            }
        )
        # a call changes the object's settings
        self._lock = Lock()

    def read(self, images: Sequence[Image.Image]) -> list[list[TextLine]]:
        """See `TextReader.read`."""
        return [self._read(image) for image in images]

    def _read(self, image: Image.Image) -> list[TextLine]:
        import numpy as np

        with self._lock:
            found = self._engine(np.asarray(image)[..., ::-1])
        if found.boxes is None:
            return []
        return [
            TextLine(text, round(float(score), 4), around(box.ravel().tolist()))
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]


def _shrunk(image: Image.Image, scale: float) -> Image.Image:
    return image if scale == 1 else image.resize((round(image.width * scale), round(image.height * scale)))
