"""Section `clips`: limits of clips, and how their frames are pooled."""

from __future__ import annotations

from pydantic import Field, model_validator

from cascade.config.base import Section, Share


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

    @model_validator(mode="after")
    def _a_window_has_a_middle(self) -> ClipParams:
        if self.window % 2 == 0:
            raise ValueError("window: an odd number of frames, so that it has a middle")
        return self
