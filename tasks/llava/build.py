"""Write models/vlm: the sample's own model, or a model from elsewhere with a scaling that is fitted here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.vlm.base import VlmError
from cascade.vlm.settings import SETTINGS_FILE
from tasks.classifier.calibration import Calibration, fit_calibration
from tasks.classifier.weights import BACKBONE, WeightsError
from tasks.common.files import new_folder, write_json
from tasks.common.metrics import write_metrics
from tasks.config import VlmParams
from tasks.data.pull import PULLED
from tasks.data.schema import split_file
from tasks.llava import assemble
from tasks.llava.hub import fetch
from tasks.llava.predict import VlmResponses, predict_split, scores
from tasks.llava.settings import UNSCALED, settings_of

REPORT = Path("reports/vlm/metrics.json")
HEADLINE = ("challenge.mcc", "challenge.accuracy")


@dataclass(frozen=True)
class VlmPaths:
    """Folders that are read (pulled, backbone, shipped) and written (folder), and the report."""

    pulled: Path = PULLED
    backbone: Path = BACKBONE
    shipped: Path = assemble.SHIPPED
    folder: Path = assemble.MODEL
    report: Path = REPORT


def build_vlm(params: VlmParams, paths: VlmPaths | None = None, *, prior: float | None) -> dict[str, Any]:
    """Write the VLM's folder and its report.

    Args:
        params: section `vlm`.
        paths: folders.
        prior: share of roadwork that scaling and figures are for; None for that of the calibration split. A shipped
            model keeps the scaling that it was shipped with.

    Returns:
        The metrics, as written.

    Raises:
        WeightsError: weights are missing, or are not what they should be.
        VlmError: the model cannot be loaded or served.
        HubError: the Hub refuses or does not answer.
        DataError: no calibration split.
    """
    paths = paths or VlmPaths()
    with new_folder(paths.folder) as partial:
        if params.backend == "off":
            _write_settings(params, partial, UNSCALED)
            metrics: dict[str, Any] = {"off": 1}
        elif params.model.source == "shipped":
            metrics = _shipped(params, partial, paths, prior)
        else:
            metrics = _other(params, partial, paths, prior)
    write_metrics(paths.report, metrics, HEADLINE)
    return metrics


def _shipped(params: VlmParams, folder: Path, paths: VlmPaths, prior: float | None) -> dict[str, Any]:
    manifest = assemble.write(folder, paths.backbone, paths.shipped)
    if manifest["prompt"] != params.prompt:
        raise WeightsError(
            f"vlm.prompt: the shipped projector was trained on {manifest['prompt']!r}; train another with "
            "`python -m tasks.vlm --train`, or restore that prompt"
        )
    scaling = Calibration(manifest["scaling"]["a"], manifest["scaling"]["b"])
    _write_settings(params, folder, scaling)
    check = scores(_calibration_split(params, folder, paths.pulled, scaling), scaling, prior=prior)
    return {"check": check, "challenge": manifest["challenge"], "calibration": manifest["calibration"]}


def _other(params: VlmParams, folder: Path, paths: VlmPaths, prior: float | None) -> dict[str, Any]:
    """A model from elsewhere: fetch it, run it on the calibration split, and scale its answers."""
    for model in filter(None, (params.model, params.clip_model)):
        fetch(model)
    responses = _calibration_split(params, folder, paths.pulled, UNSCALED)
    answered = [index for index, answer in enumerate(responses.answers) if answer.logit is not None]
    if len(set(responses.label[answered].tolist())) < 2:
        why = next((answer.why for answer in responses.answers if answer.why), "vlm.calibration_images is too small")
        raise VlmError(f"the VLM answered too few calibration pictures to scale its answers: {why}")
    scaled = responses.logit[answered], responses.label[answered], [responses.place[index] for index in answered]
    scaling = fit_calibration(*scaled, params.scaling, resamples=params.cut_resamples, prior=prior)
    _write_settings(params, folder, scaling)
    return {"calibration": scores(responses, scaling, prior=prior)}


def _calibration_split(params: VlmParams, folder: Path, pulled: Path, scaling: Calibration) -> VlmResponses:
    settings, split = settings_of(params, folder, scaling), split_file(pulled, "calibration")
    return predict_split(settings, folder, split, seed=params.seed, images=params.calibration_images)


def _write_settings(params: VlmParams, folder: Path, scaling: Calibration) -> None:
    write_json(folder / SETTINGS_FILE, settings_of(params, folder, scaling).model_dump())
