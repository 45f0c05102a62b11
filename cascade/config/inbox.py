"""Section `inbox`: what the service keeps for mining."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from cascade.config.base import Section


class RetrainParams(Section):
    """Section `inbox.retrain`: how much new there must be for a retrain before its 90 days are over."""

    batch_pictures: int = Field(ge=1)
    new_labels: int = Field(ge=1)


class InboxParams(Section):
    """Section `inbox`: what the service keeps for mining, and when mining requests a retrain."""

    enabled: bool
    folder: Path
    uncertain_low: float = Field(ge=0, le=1)
    uncertain_high: float = Field(ge=0, le=1)
    disagreement: float = Field(gt=0, le=1)
    control_rate: float = Field(ge=0, le=1)
    max_pictures: int = Field(ge=1)
    max_bytes: int = Field(ge=1)
    control_part: float = Field(ge=0, le=1)
    keep_days: int = Field(ge=1)
    retrain: RetrainParams

    @model_validator(mode="after")
    def _band(self) -> InboxParams:
        if self.uncertain_low > self.uncertain_high:
            raise ValueError("uncertain_low lies above uncertain_high")
        return self

    def limits(self, share: str) -> tuple[int, int]:
        """Pictures and bytes that a share of the inbox, `control` or `hard`, may hold."""
        part = self.control_part if share == "control" else 1 - self.control_part
        return int(self.max_pictures * part), int(self.max_bytes * part)
