"""The stages that can be compared, and the settings that a release takes over from params.yaml."""

from __future__ import annotations

from pathlib import Path

from cascade.release.manifest import CascadeSettings, CropSettings
from tasks.config import CropParams, OcrParams
from tasks.data.schema import DataError

ORDER = ("classifier", "detectors", "vlm", "ocr")
QUANTIZED = "vlm_awq"
# of models/cascade: the folder of each stage below models
SOURCES = "sources.json"


def available_stages(models: Path, ocr: OcrParams, *, quantized: bool = False) -> dict[str, Path]:
    """Give the folders of the stages whose files are there, in the cascade's order; RapidOCR needs none.

    Args:
        models: folder of them all.
        ocr: section `ocr`.
        quantized: whether the 4-bit VLM stands for its source.

    Raises:
        DataError: there is no classifier, or no model of the OCR that is set.
    """
    there = {name: models / name for name in ORDER if (models / name).is_dir()}
    if quantized and "vlm" in there:
        there["vlm"] = models / QUANTIZED
    if "classifier" not in there:
        raise DataError(f"{models / 'classifier'}: no such folder; `dvc repro export` writes it")
    if ocr.backend == "off":
        there.pop("ocr", None)
    elif ocr.backend == "rapidocr":
        there["ocr"] = models / "ocr"
    elif "ocr" not in there:
        raise DataError(f"{models / 'ocr'}: no such folder; `streetvision download` fetches {ocr.backend}")
    return {name: there[name] for name in ORDER if name in there}


def base_settings(crops: CropParams, ocr: OcrParams) -> CascadeSettings:
    """The settings of a release, without its stages and its rule."""
    return CascadeSettings(
        crops=CropSettings(count=crops.count, pool=crops.pool, zoom=crops.zoom),
        ocr=ocr.model_dump(mode="json", exclude={"model", "repo", "revision"}),
    )
