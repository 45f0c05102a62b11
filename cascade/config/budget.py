"""Section `budget`: memory, time limits, clips and cache of the cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


class StageSeconds(Section):
    """How long one call of a stage may take."""

    classifier: float = Field(default=4.0, gt=0)
    detectors: float = Field(default=3.0, gt=0)
    judge: float = Field(default=4.0, gt=0)
    text: float = Field(default=3.0, gt=0)


class ClipParams(Section):
    """Limits of clips, all checked before a frame is decoded, and how their frames are pooled."""

    max_seconds: float = Field(default=120.0, gt=0)
    max_bytes: int = Field(default=60_000_000, gt=0)
    max_pixels: int = Field(default=9_000_000, gt=0)
    frames_per_second: float = Field(default=2.0, gt=0)
    max_frames: int = Field(default=64, ge=1)
    window: int = Field(default=3, ge=1)
    quantile: Share = Field(default=0.9, ge=0.5, le=1)
    uncertain_frames: int = Field(default=4, ge=0)


class CacheParams(Section):
    """Answers by content and release."""

    folder: Path | None = None
    max_bytes: int = Field(default=100_000_000, gt=0)


class BudgetParams(Section):
    """Section `budget`: memory, time limits, clips and cache of the cascade."""

    ram_gib: float = Field(default=8.0, gt=0)
    gpu_gib: float = Field(default=0.0, ge=0)
    stage_seconds: StageSeconds = StageSeconds()
    batch: int = Field(default=4, ge=1)
    retry_seconds: float = Field(default=60.0, ge=0)
    looks: int = Field(default=1, ge=1, le=9)
    look_pool: Literal["max", "mean"] = "mean"
    worth_views: int = Field(default=1, ge=1, le=4)
    worth_images: int = Field(default=240, ge=8)
    worth_needless: int = Field(default=64, ge=8)
    worth_min_net: int = 0
    worth_min_gain: float = Field(default=0.002, ge=0)
    worth_confidence: float = Field(default=0.95, ge=0, lt=1)
    clip: ClipParams = ClipParams()
    cache: CacheParams = CacheParams()

    @model_validator(mode="after")
    def _a_window_has_a_middle(self) -> BudgetParams:
        if self.clip.window % 2 == 0:
            raise ValueError("clip.window: an odd number of frames, so that it has a middle")
        return self
