"""Stage 4: text on signs. Two roadwork keywords on one picture make it roadwork; otherwise there is no estimate."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue

from cascade.config.ocr import OcrParams
from cascade.extras import require
from cascade.ocr.keywords import KeywordHit, find_keywords
from cascade.process.card import return_unused
from cascade.process.memory import Meter
from cascade.stages.base import StageResult

if TYPE_CHECKING:
    from PIL import Image

# measured with RapidOCR's small models on one picture; the memory manager replaces it by its own measurement
RAPIDOCR_BYTES = 400_000_000
REGIONS, PLAIN = "<OCR_WITH_REGION>", "<OCR>"
NEW_TOKENS = 256
# px; smaller pictures are enlarged to it before lines are detected
SHORTER_SIDE = 448


class OcrError(ValueError):
    """The text reader's files are missing or unusable."""


@dataclass(frozen=True)
class TextLine:
    """One line as read: its text, the reader's score (None where it gives none), x, y, w, h in px."""

    text: str
    score: float | None
    box: tuple[float, float, float, float]


class TextReader(Protocol):
    """What finds and reads lines; `read` may be called from several threads at once."""

    def read(self, image: Image.Image) -> list[TextLine]:
        """Give the lines of an upright RGB picture, in any order."""
        ...


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
        reader: TextReader = RapidReader(self.params.threads) if rapid else FlorenceReader(self._folder, self.device)
        # models are created at the first picture with text; a grey one makes at least the detector
        reader.read(Image.new("RGB", (64, 64), (128, 128, 128)))
        self._reader = reader
        self.memory_bytes = meter.taken() or self.memory_bytes

    def predict(self, images: Sequence[Image.Image], priors: Sequence[float] | None = None) -> list[StageResult]:
        """See `Stage.predict`; its detail holds `lines` (text, score, box in px) and `keywords`."""
        return [self._read(image) for image in images]

    def unload(self) -> None:
        """See `Stage.unload`."""
        self._reader = None
        return_unused()

    def _read(self, image: Image.Image) -> StageResult:
        if self._reader is None:
            raise RuntimeError("the OCR stage is not loaded; call load() first")
        start = time.perf_counter()
        scale = min(1.0, self.params.max_side / max(image.size))
        small = image if scale == 1 else image.resize((round(image.width * scale), round(image.height * scale)))
        read = [line for line in self._reader.read(small) if (line.score or 1.0) >= self.params.min_score]
        lines = sorted((_scaled(line, scale) for line in read), key=lambda line: line.box[1])
        hits = find_keywords([line.text for line in lines], self.params.min_similarity)
        milliseconds = round((time.perf_counter() - start) * 1000, 3)
        return self._result(lines, hits, milliseconds)

    def _result(self, lines: list[TextLine], hits: list[KeywordHit], milliseconds: float) -> StageResult:
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
    """RapidOCR with the PP-OCR models that ship in its wheel.

    Raises:
        OcrError: the wheel lacks a model; RapidOCR would download it.
    """

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

    def read(self, image: Image.Image) -> list[TextLine]:
        """See `TextReader.read`."""
        import numpy as np

        with self._lock:
            found = self._engine(np.asarray(image)[..., ::-1])
        if found.boxes is None:
            return []
        return [
            TextLine(text, round(float(score), 4), _around(box.ravel().tolist()))
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]


class FlorenceReader:
    """Florence-2 in transformers' own classes, from a folder in safetensors.

    `<OCR_WITH_REGION>` gives lines and their quads, `<OCR>` the text alone.

    Raises:
        OcrError: the folder does not load.
    """

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoProcessor, Florence2ForConditionalGeneration

        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        try:
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model = Florence2ForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=dtype
            )
        except (OSError, ValueError) as error:
            raise OcrError(f"{folder}: Florence-2 cannot be loaded: {error}") from None
        self._model = model.to(device).eval()
        self._torch, self._device, self._dtype = torch, device, dtype

    def read(self, image: Image.Image) -> list[TextLine]:
        """See `TextReader.read`; where no region is found, the text of the whole picture, without a score."""
        return self.parse(self._say(image, REGIONS), REGIONS, image.size) or self.parse(
            self._say(image, PLAIN), PLAIN, image.size
        )

    def parse(self, said: str, task: str, size: tuple[int, int]) -> list[TextLine]:
        """Turn the model's words into lines.

        Args:
            said: decoded with its special tokens.
            task: `REGIONS` or `PLAIN`.
            size: width and height of the picture, px.
        """
        answer: Any = self._processor.post_process_generation(text=said, task=task, image_size=size)[task]
        if task == PLAIN:
            text = _clean(answer)
            return [TextLine(text, None, (0.0, 0.0, float(size[0]), float(size[1])))] if text else []
        pairs = zip(answer["labels"], answer["quad_boxes"], strict=True)
        return [TextLine(_clean(label), None, _around(quad)) for label, quad in pairs if _clean(label)]

    def _say(self, image: Image.Image, task: str) -> str:
        inputs = self._processor(text=task, images=image, return_tensors="pt").to(self._device, self._dtype)
        with self._torch.inference_mode():
            tokens = self._model.generate(**inputs, max_new_tokens=NEW_TOKENS, num_beams=1, do_sample=False)
        return str(self._processor.batch_decode(tokens, skip_special_tokens=False)[0])


def _clean(text: str) -> str:
    return re.sub(r"<[^<>]*>", "", text).strip()


def _around(quad: Sequence[float]) -> tuple[float, float, float, float]:
    """Box around the corners x0, y0, x1, y1, ..."""
    xs, ys = quad[0::2], quad[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _scaled(line: TextLine, scale: float) -> TextLine:
    x, y, w, h = (round(float(value) / scale, 1) for value in line.box)
    return TextLine(line.text, line.score, (x, y, w, h))
