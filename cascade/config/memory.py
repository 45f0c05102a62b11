"""Section `memory`: what the stages of the cascade may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cascade.config.base import Section

StageName = Literal["classifier", "detectors", "vlm", "ocr"]


class MemoryParams(Section):
    """Limits of models in memory, GiB; the least recently used stage leaves first. 0 GPU: no stage may use one.

    Attributes:
        sizes_gib: of stages where they compute, until they are measured; twice its files for one that is not named.
        gpu_stages: those that belong on the GPU: one of them that computes on the processor is a warning.
        retry_seconds: until a stage that could not be loaded is tried again.
    """

    ram_gib: float = Field(default=8.0, gt=0)
    gpu_gib: float = Field(default=0.0, ge=0)
    sizes_gib: dict[StageName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    gpu_stages: tuple[StageName, ...] = ()
    retry_seconds: float = Field(default=60.0, ge=0)

    @model_validator(mode="after")
    def _has_a_card(self) -> MemoryParams:
        if self.gpu_stages and not self.gpu_gib:
            raise ValueError(f"gpu_stages: {', '.join(self.gpu_stages)} belong on a GPU, and gpu_gib is 0")
        return self
