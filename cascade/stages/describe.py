"""What runs each stage of a release, read from its files without loading a model."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cascade.config.ocr import OcrParams
from cascade.release.manifest import StageEntry
from cascade.release.store import Release
from cascade.vlm.base import VlmError


class StageStatus(BaseModel):
    """One stage of a release.

    Attributes:
        on: whether the release switches it on; `why` says why, or why not.
        engine: the library or server that runs it; None, as the next two, where the release does not say.
        device: whose memory it takes.
        precision: of its weights.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    on: bool
    why: str
    engine: str | None = None
    device: str | None = None
    precision: str | None = None

    @property
    def runs_on(self) -> str:
        """Engine, device and precision in one phrase."""
        return " ".join(part for part in (self.engine, self.device, self.precision) if part)


def describe_stages(release: Release) -> list[StageStatus]:
    """Give the stages of a release in their order; of one that is off, the files are mostly not there.

    Where the files of a stage that is on cannot be read, `why` says so: the other stages are still of interest.
    """
    return [_describe(release, entry) for entry in release.settings.stages]


def _describe(release: Release, entry: StageEntry) -> StageStatus:
    if not entry.on:
        return StageStatus(name=entry.name, on=False, why=entry.why)
    try:
        return StageStatus(name=entry.name, on=True, why=entry.why, **_facts(release, entry.name))
    except (OSError, ValueError, VlmError) as error:
        return StageStatus(name=entry.name, on=True, why=f"damaged: {error}")


def _facts(release: Release, name: str) -> dict[str, str]:
    if name == "classifier":
        engine = release.manifest.engine
        return {"engine": engine.kind, "device": _device(engine.kind), "precision": engine.precision}
    if name == "detectors":
        return _detectors(release.folder / name)
    return _vlm(release.folder / name) if name == "vlm" else _ocr(release)


def _detectors(folder: Path) -> dict[str, str]:
    from cascade.engines.boxes import load_contract
    from cascade.stages.detectors import read_detectors

    settings = read_detectors(folder)
    precisions = [load_contract(folder / name).precision for name in settings.detectors]
    return {
        "engine": settings.engine,
        "device": _device(settings.engine),
        "precision": " and ".join(dict.fromkeys(precisions)),
    }


def _vlm(folder: Path) -> dict[str, str]:
    from cascade.vlm.awq import quantization
    from cascade.vlm.settings import read_settings

    settings = read_settings(folder)
    facts: dict[str, str] = {"engine": settings.backend, "device": settings.device}
    if settings.model.folder is not None and quantization(folder / settings.model.folder):
        facts["precision"] = "awq int4"
    return facts


def _ocr(release: Release) -> dict[str, str]:
    params = OcrParams.model_validate({**OcrParams().model_dump(), **release.settings.ocr})
    return {"engine": params.backend, "device": params.device if params.backend == "florence2" else "cpu"}


def _device(engine: str) -> str:
    return "cuda" if engine == "tensorrt" else "cpu"
