"""Section `orchestration`: what the flows allow a stage, and which stages share the graphics card."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from cascade.config.base import Section


class OrchestrationParams(Section):
    """Section `orchestration`.

    Attributes:
        stage_hours: that a stage may take; then it is ended, and the run fails.
        stage_hours_of: of single stages, by name.
        gpu_stages: that hold Prefect's limit `gpu`, so that one at a time has the graphics card.
    """

    stage_hours: float = Field(default=24, gt=0)
    stage_hours_of: dict[str, PositiveFloat] = Field(default={})
    gpu_stages: tuple[str, ...] = ()

    def seconds_of(self, stage: str) -> float:
        """The time-out of a stage, in seconds."""
        return 3600 * self.stage_hours_of.get(stage, self.stage_hours)
