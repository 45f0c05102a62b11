"""Section `ocr`: stage 4, text reading."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share


class OcrParams(Section):
    """Section `ocr`: stage 4, text reading.

    Attributes:
        max_tokens: of an answer of florence2, which takes as long as its longest answer.
        time_limit_seconds: for all pictures of a call of florence2; what it read by then counts. None: no limit of its
            own.
    """

    backend: Literal["rapidocr", "florence2", "off"] = "rapidocr"
    model: Path = Path("models/ocr")
    repo: str = "florence-community/Florence-2-large"
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    min_words: int = Field(default=2, ge=1)
    min_similarity: Share = Field(default=0.84, gt=0.5, le=1)
    min_score: Share = Field(default=0.6, ge=0, le=1)
    max_side: int = Field(default=960, ge=64)
    probability: Share = Field(default=0.95, gt=0.5, le=1)
    max_tokens: int = Field(default=256, ge=8)
    time_limit_seconds: float | None = Field(default=None, gt=0)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1)
