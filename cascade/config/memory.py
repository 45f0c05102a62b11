"""Section `memory`: what the stages of the cascade may take."""

from __future__ import annotations

from pydantic import Field

from cascade.config.base import Section


class MemoryParams(Section):
    """Limits of models in memory, GiB; the least recently used stage leaves first. 0 GPU: no stage may use one."""

    ram_gib: float = Field(default=8.0, gt=0)
    gpu_gib: float = Field(default=0.0, ge=0)
    retry_seconds: float = Field(default=60.0, ge=0)
