"""Section `ocr`: stage 4, text reading."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cascade.config.base import Section, Share


class OcrParams(Section):
    """Section `ocr`: stage 4, text reading."""

    backend: Literal["rapidocr", "florence2", "off"] = "rapidocr"
    model: Path = Path("models/ocr")
    repo: str = "florence-community/Florence-2-large"
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    min_words: int = Field(default=2, ge=1)
    min_similarity: Share = Field(default=0.84, gt=0.5, le=1)
    min_score: Share = Field(default=0.6, ge=0, le=1)
    max_side: int = Field(default=960, ge=64)
    probability: Share = Field(default=0.95, gt=0.5, le=1)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1)
