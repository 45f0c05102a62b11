"""The folder of a quantized VLM: its models, and the settings that the runtime reads beside them."""

from __future__ import annotations

from pathlib import Path

from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE, ModelSource, ServerSettings, VlmSettings
from tasks.common.files import sha256_file, write_json
from tasks.common.hub.fetch import local_folder
from tasks.config import QuantizeParams
from tasks.llava.hub import hub_snapshot

# where the quantized models lie in their folder
IMAGES, CLIPS = ".", "clip"
QUANTIZATION = "--quantization"


def models(settings: VlmSettings) -> dict[str, ModelSource]:
    """The VLM's models by where the quantized ones lie: the one for pictures in the folder itself."""
    return {IMAGES: settings.model} | ({CLIPS: settings.clip_model} if settings.clip_model else {})


def with_own_mass(settings: VlmSettings, params: QuantizeParams) -> VlmSettings:
    """The settings of the source with quantize.min_mass in place of vlm.min_mass, where there is one."""
    return settings if params.min_mass is None else settings.model_copy(update={"min_mass": params.min_mass})


def seal(folder: Path, settings: VlmSettings, memory_gib: float | None = None) -> None:
    """Write vlm.json for the models in a folder, with digests of all their files.

    Args:
        folder: of the models.
        settings: of their sources.
        memory_gib: that their server is given; None: as much as that of their sources.
    """
    files = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SETTINGS_FILE
    }
    clips = ModelSource(folder=CLIPS) if settings.clip_model else None
    changed = {
        "model": ModelSource(folder=IMAGES),
        "clip_model": clips,
        "files": files,
        "server": _server(settings, memory_gib),
    }
    write_json(folder / SETTINGS_FILE, settings.model_copy(update=changed).model_dump(mode="json"))


def _server(settings: VlmSettings, memory_gib: float | None) -> ServerSettings | None:
    """The server's settings without arguments that quantize the source on loading: it detects AWQ by itself."""
    if settings.server is None:
        return None
    given = settings.server.arguments
    kept = tuple(
        word for place, word in enumerate(given) if QUANTIZATION not in (word, given[place - 1] if place else None)
    )
    booked = settings.server.memory_gib if memory_gib is None else memory_gib
    return settings.server.model_copy(update={"arguments": kept, "memory_gib": booked})


def folder_of(source: ModelSource, vlm: Path) -> Path:
    """Where a model's files lie: its folder, or its snapshot in the Hub's cache.

    Raises:
        VlmError: there is none.
    """
    if source.folder is not None:
        return vlm / source.folder
    folder = local_folder(hub_snapshot(source.repo or "", source.revision or ""))
    if folder is None:
        name = f"{source.repo}@{source.revision}"
        raise VlmError(f"{name}: not, or not all, in the Hub's cache; `dvc repro vlm` fetches it")
    return folder
