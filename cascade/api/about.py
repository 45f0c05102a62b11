"""What the service says about the release that it serves, without a path of this machine."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict

from cascade.config import ServeParams
from cascade.release.manifest import CascadeSettings, EngineEntry, Exits
from cascade.release.store import Release
from cascade.stages.describe import StageStatus, describe_stages

# `serve.stages: light`
LIGHT = ("classifier", "detectors")
LEFT_OUT = "serve.stages is light"


class ReleaseInfo(BaseModel):
    """Answer of `/v1/release`.

    Attributes:
        release: id.
        thresholds: probabilities at which an image leaves the cascade after stage 1.
        stages: in their order, with what runs them; those that this service leaves out are off.
        engine: of stage 1, with the versions of its libraries.
        revision: of data and code.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    thresholds: Exits
    stages: list[StageStatus]
    engine: EngineEntry
    revision: dict[str, str]


def served_settings(release: Release, serve: ServeParams) -> CascadeSettings:
    """Give the release's settings, with the stages switched off that `serve.stages` leaves out."""
    settings = release.settings
    if serve.stages == "all":
        return settings
    stages = tuple(
        entry if entry.name in LIGHT else entry.model_copy(update={"on": False, "why": LEFT_OUT})
        for entry in settings.stages
    )
    return settings.model_copy(update={"stages": stages})


def release_info(release: Release, settings: CascadeSettings, gpu_stages: Collection[str] = ()) -> ReleaseInfo:
    """Describe a release as it is served.

    Args:
        release: verified.
        settings: of `served_settings`.
        gpu_stages: `memory.gpu_stages`.
    """
    off = {entry.name: entry.why for entry in settings.stages if not entry.on}
    stages = [
        StageStatus(name=stage.name, on=False, why=off[stage.name]) if stage.name in off else _without_paths(stage)
        for stage in describe_stages(release, gpu_stages)
    ]
    manifest = release.manifest
    return ReleaseInfo(
        release=release.id,
        thresholds=manifest.thresholds,
        stages=stages,
        engine=manifest.engine,
        revision=manifest.revision,
    )


def _without_paths(stage: StageStatus) -> StageStatus:
    """A stage whose files cannot be read says so with their names, which are for the log alone."""
    return stage.model_copy(update={"why": "damaged"}) if stage.why.startswith("damaged: ") else stage
