"""Training one detector on the project's pictures. Import this only where torch is wanted; it loads at the top."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.common.files import sha256, sha256_file
from tasks.config import DetectParams
from tasks.data.schema import split_file
from tasks.detection.coco import read_coco
from tasks.detection.paths import DetectPaths
from tasks.detection.samples import DetectorDataset
from tasks.detection.target import target_of
from tasks.detection.weights import WEIGHTS_FILE, read_weights, write_weights
from tasks.training.feature_cache import FeatureCache
from tasks.training.loop import TrainingPlan, train
from tasks.training.pictures import AnnotatedImage, read_annotated_images, refuse_measured


def train_detector(name: str, detector: Any, params: DetectParams, places: DetectPaths, *, ship: bool = False) -> Path:
    """Train on the training split and what params add, and leave the averaged weights in the detector.

    Args:
        name: yolo or detr.
        detector: with random weights, or those of its repository.
        params: section `detect`; `start: shipped` begins with the shipped weights.
        places: folders; the checkpoint lies in `work`, under a name that stands for data and parameters.
        ship: write the weights and a manifest of how they came about into `shipped` as well.

    Returns:
        The checkpoint.
    """
    section = params.yolo if name == "yolo" else params.detr
    pictures = training_pictures(params, places)
    about = _about(name, detector, params, places, pictures)
    if params.start == "shipped":
        read_weights(detector, places.shipped / name)
        about["start"] = sha256_file(places.shipped / name / WEIGHTS_FILE)
    fingerprint = _digest([json.dumps(about, sort_keys=True)])[:12]
    checkpoint = places.work / fingerprint / name / "checkpoint.safetensors"
    draws = None if detector.frozen is None else params.detr.draws
    plan = TrainingPlan(section.steps, section.batch_size, section.learning_rate, params.seed, fingerprint)
    samples = DetectorDataset(pictures, seed=params.seed, size=detector.size, draws=draws)
    detector.to("cuda" if torch.cuda.is_available() else "cpu")
    cache = _cache(detector, params, len(pictures), checkpoint.parent)
    average = train(detector, samples, plan, checkpoint, target_of, cache)
    detector.load_state_dict(average, strict=False)
    detector.cpu()
    if ship:
        write_weights(average, places.shipped / name, about)
    return checkpoint


def training_pictures(params: DetectParams, places: DetectPaths) -> list[AnnotatedImage]:
    """Read the training split and what `detect.extra` and `detect.coco` add.

    Raises:
        DataError: a picture is of a place that another split measures on.
    """
    pictures = read_annotated_images([split_file(places.pulled, "train"), *params.extra])
    if params.coco is not None:
        pictures += read_coco(params.coco.annotations, params.coco.images)
    refuse_measured(pictures, places.pulled)
    return pictures


def _about(
    name: str, detector: Any, params: DetectParams, places: DetectPaths, pictures: Sequence[AnnotatedImage]
) -> dict[str, Any]:
    """What the weights depend on, for the checkpoint's name and the shipped manifest."""
    section = params.yolo if name == "yolo" else params.detr
    about = {
        "detector": name,
        "params": section.model_dump(mode="json"),
        "seed": params.seed,
        "start": "random",
        "pictures": len(pictures),
        "data": _digest([picture.key for picture in pictures]),
        "licence": "AGPL-3.0-or-later",
    }
    if detector.frozen is not None:
        about["backbone"] = sha256_file(places.backbone / "model.safetensors")
    return about


def _cache(detector: Any, params: DetectParams, pictures: int, folder: Path) -> FeatureCache | None:
    if detector.frozen is None:
        return None
    side = detector.frozen.side
    return FeatureCache(folder / "features", pictures, params.detr.draws, (detector.frozen.channels, side, side))


def _digest(parts: Sequence[str]) -> str:
    return sha256("\n".join(parts).encode())
