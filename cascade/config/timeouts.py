"""Section `timeouts`: how long one call of a stage may take."""

from __future__ import annotations

from pydantic import Field

from cascade.config.base import Section


class TimeoutParams(Section):
    """Seconds a call of each stage, and the images a call of stages 2 to 4: those done when time is up count."""

    classifier: float = Field(default=4.0, gt=0)
    detectors: float = Field(default=3.0, gt=0)
    vlm: float = Field(default=4.0, gt=0)
    ocr: float = Field(default=3.0, gt=0)
    batch: int = Field(default=4, ge=1)

    def seconds(self, stage: str) -> float:
        """Seconds that a call of a stage may take; infinity for a stage without a limit."""
        limit = self.model_dump(exclude={"batch"}).get(stage)
        return float("inf") if limit is None else float(limit)
