"""What runs each stage of a release, read from its files without loading a model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cascade.config.ocr import OcrParams
from cascade.engines.base import device_of
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
        off_gpu: whether it belongs on the GPU, by `memory.gpu_stages`, and computes on the processor.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    on: bool
    why: str
    engine: str | None = None
    device: str | None = None
    precision: str | None = None
    off_gpu: bool = False

    @property
    def runs_on(self) -> str:
        """Engine, device and precision in one phrase."""
        return " ".join(part for part in (self.engine, self.device, self.precision) if part)


def describe_stages(release: Release, gpu_stages: Collection[str] = ()) -> list[StageStatus]:
    """Give the stages of a release in their order; of one that is off, the files are mostly not there.

    Where the files of a stage that is on cannot be read, `why` says so: the other stages are still of interest.

    Args:
        release: with its files.
        gpu_stages: `memory.gpu_stages`: those that belong on the GPU.
    """
    found = [_describe(release, entry) for entry in release.settings.stages]
    return [one.model_copy(update={"off_gpu": one.name in gpu_stages and one.device == "cpu"}) for one in found]


def off_gpu_warning(stages: Collection[StageStatus]) -> str | None:
    """Name the stages that belong on the GPU and compute on the processor; None where all are where they belong."""
    names = [f"{one.name} ({one.runs_on})" for one in stages if one.on and one.off_gpu]
    return f"{' and '.join(names)}: on the processor, and memory.gpu_stages wants it on the GPU" if names else None


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
        return {"engine": engine.kind, "device": device_of(engine.kind), "precision": engine.precision}
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
        "device": device_of(settings.engine),
        "precision": " and ".join(dict.fromkeys(precisions)),
    }


def _vlm(folder: Path) -> dict[str, str]:
    from cascade.vlm.precision import vlm_precision
    from cascade.vlm.settings import read_settings

    settings = read_settings(folder)
    precision = vlm_precision(folder, settings)
    return {"engine": settings.backend, "device": settings.device, "precision": precision}


def _ocr(release: Release) -> dict[str, str]:
    from cascade.stages.ocr import ocr_precision

    params = OcrParams.model_validate({**OcrParams().model_dump(), **release.settings.ocr})
    device = params.device if params.backend == "florence2" else "cpu"
    return {"engine": params.backend, "device": device, "precision": ocr_precision(params)}
