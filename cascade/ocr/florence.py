"""Florence-2 as a text reader, in transformers' own classes; all pictures of a call go through it together."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.config.ocr import OcrParams
from cascade.ocr.lines import OcrError, TextLine, around

if TYPE_CHECKING:
    from PIL import Image

REGIONS, PLAIN = "<OCR_WITH_REGION>", "<OCR>"
PLACE = re.compile(r"<loc_\d+>")
END, PADDING = "</s>", "<pad>"


class FlorenceReader:
    """Florence-2 from a folder in safetensors.

    `<OCR_WITH_REGION>` gives lines and their quads, `<OCR>` the text alone. A step of its decoder takes as long for
    eight pictures as for one on a card, so the time of a call is that of its longest answer: `ocr.max_tokens` caps it,
    and `ocr.time_limit_seconds` ends it with what was read until then.

    Args:
        folder: model and processor.
        params: section `ocr`.

    Raises:
        OcrError: the folder does not load.
    """

    reads_together = True

    def __init__(self, folder: Path, params: OcrParams) -> None:
        import torch
        from transformers import AutoProcessor, Florence2ForConditionalGeneration

        dtype = torch.bfloat16 if params.device.startswith("cuda") else torch.float32
        try:
            self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            model = Florence2ForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=dtype
            )
        except (OSError, ValueError) as error:
            raise OcrError(f"{folder}: Florence-2 cannot be loaded: {error}") from None
        self._model = model.to(params.device).eval()
        self._torch, self._dtype = torch, dtype
        self._params = params

    def read(self, images: Sequence[Image.Image]) -> list[list[TextLine]]:
        """See `TextReader.read`; where no region is found, the text of the whole picture. Lines have no score."""
        begun = time.monotonic()
        found = self._ask(images, REGIONS, self._params.time_limit_seconds)
        empty = [number for number, lines in enumerate(found) if not lines]
        left = self._params.time_limit_seconds
        if left is not None:
            left -= time.monotonic() - begun
        if empty and (left is None or left > 0):
            again = self._ask([images[number] for number in empty], PLAIN, left)
            for number, lines in zip(empty, again, strict=True):
                found[number] = lines
        return found

    def parse(self, said: str, task: str, size: tuple[int, int]) -> list[TextLine]:
        """Turn the model's words into lines; what it had begun when it was cut off is a line of the whole picture.

        Args:
            said: decoded with its special tokens.
            task: `REGIONS` or `PLAIN`.
            size: width and height of the picture, px.
        """
        answer: Any = self._processor.post_process_generation(text=said, task=task, image_size=size)[task]
        whole = (0.0, 0.0, float(size[0]), float(size[1]))
        if task == PLAIN:
            text = _clean(answer)
            return [TextLine(text, None, whole)] if text else []
        pairs = zip(answer["labels"], answer["quad_boxes"], strict=True)
        lines = [TextLine(_clean(label), None, around(quad)) for label, quad in pairs if _clean(label)]
        begun, ended = _clean(PLACE.split(said)[-1]), said.replace(PADDING, "").endswith(END)
        # an answer that ended without any place is none, and the other task is tried
        return [*lines, TextLine(begun, None, whole)] if begun and (lines or not ended) else lines

    def _ask(self, images: Sequence[Image.Image], task: str, seconds: float | None) -> list[list[TextLine]]:
        """Lines of each picture under one task; after `seconds` the token that is being computed is the last."""
        inputs = self._processor(text=[task] * len(images), images=list(images), return_tensors="pt")
        inputs = inputs.to(self._model.device, self._dtype)
        with self._torch.inference_mode():
            tokens = self._model.generate(
                **inputs, max_new_tokens=self._params.max_tokens, num_beams=1, do_sample=False, max_time=seconds
            )
        said = self._processor.batch_decode(tokens, skip_special_tokens=False)
        return [self.parse(one, task, image.size) for one, image in zip(said, images, strict=True)]


def _clean(text: str) -> str:
    return re.sub(r"<[^<>]*>", "", text).strip()
