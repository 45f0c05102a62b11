"""From a release's settings to its stages."""

from __future__ import annotations

from pathlib import Path

from cascade.config.ocr import OcrParams
from cascade.release.manifest import CascadeSettings
from cascade.stages.base import Stage


def build_stage(name: str, folder: Path, settings: CascadeSettings) -> Stage:
    """Give a stage that is not loaded yet.

    Args:
        name: one of the settings' stages.
        folder: the stage's own: `classifier.onnx` and the like lie in it.
        settings: of the release.

    Raises:
        ValueError: the folder does not hold what the stage needs.
    """
    if name == "classifier":
        from cascade.stages.classifier import ClassifierStage

        return ClassifierStage(folder, settings.crops)
    if name == "detectors":
        from cascade.stages.detectors import DetectorsStage

        return DetectorsStage(folder)
    if name == "vlm":
        from cascade.stages.vlm import VlmStage

        return VlmStage(folder)
    if name == "ocr":
        from cascade.stages.ocr import OcrStage

        return OcrStage(OcrParams.model_validate({**OcrParams().model_dump(), **settings.ocr}), folder)
    raise ValueError(f"{name}: no such stage")


def memory_estimate(stage: Stage, folder: Path, given: int = 0) -> int:
    """Bytes to set aside for a stage that was never measured: its own word, what is given, or twice its files."""
    if stage.memory_bytes or given:
        return stage.memory_bytes or given
    # the classifier's files lie at the top of a release, and the folders beside them are other stages
    found = folder.glob("*") if stage.name == "classifier" else folder.rglob("*")
    files = (path for path in found if path.is_file())
    return 2 * sum(path.stat().st_size for path in files) if folder.is_dir() else 0
