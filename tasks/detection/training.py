"""Training one detector on the project's pictures. Import this only where torch is wanted; it loads at the top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.common.cache_key import CacheKey, cache_key
from tasks.common.files import sha256, sha256_file, write_json
from tasks.common.imports import ROOT
from tasks.config.detect import DetectParams
from tasks.config.learn import TrainingParams
from tasks.data.annotated_images import AnnotatedImage, read_annotated_images, refuse_measured
from tasks.data.schema import split_file
from tasks.detection.coco import read_coco
from tasks.detection.duplicates import refuse_duplicates
from tasks.detection.paths import DetectPaths
from tasks.detection.samples import DetectorDataset
from tasks.detection.take_average import take_average
from tasks.detection.target import target_of
from tasks.detection.weights import WEIGHTS_FILE, read_weights, write_weights
from tasks.training.card import has_bfloat16, tf32
from tasks.training.feature_cache import FeatureCache
from tasks.training.resumable import NOT_IN_KEY, TrainingPlan, train

COMPARISON = "weights.json"  # beside the checkpoint: see `tasks.detection.take_average`


def train_detector(
    name: str, detector: Any, params: DetectParams, training: TrainingParams, paths: DetectPaths, *, ship: bool = False
) -> Path:
    """Train on the training split and what params add, and leave the averaged weights in the detector.

    Args:
        name: yolo or detr.
        detector: with random weights, or those of its repository.
        params: section `detect`; `start: shipped` begins with the shipped weights.
        training: section `training`.
        paths: folders; the checkpoint lies in `work`, under a name that stands for all that the weights depend on.
        ship: write the weights and a manifest of how they came about into `shipped` as well.

    Returns:
        The checkpoint; beside it COMPARISON holds raw against averaged weights.

    Raises:
        NonFiniteError: see `tasks.training.loop.Trainer.run`.
    """
    section = params.yolo if name == "yolo" else params.detr
    pictures = training_pictures(params, paths)
    if params.start == "shipped":
        read_weights(detector, paths.shipped / name)
    provenance = _provenance(name, detector, params, training, paths, pictures)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if where.type == "cuda":
        provenance["card"] = params.card.model_dump(mode="json", exclude={"memory_share"})
    key = weights_key(params, provenance)
    checkpoint = paths.work / key.short / name / "checkpoint.safetensors"
    plan = TrainingPlan(
        section.steps, section.batch_size, section.learning_rate, params.seed, key.digest, training, params.card
    )
    draws = None if detector.frozen is None else params.detr.draws
    samples = DetectorDataset(pictures, params, size=detector.size, colour_jitter=training.colour_jitter, draws=draws)
    detector.to(where)
    detector.card_bfloat16 = params.card.precision != "float32" and has_bfloat16(where)
    cache = _feature_cache(detector, params, training, provenance, paths.work / "features")
    with tf32(params.card.tf32 and where.type == "cuda"):
        average = train(detector, samples, plan, checkpoint, target_of, cache)
    provenance["weights"] = take_average(name, detector, average, params, paths.pulled)
    detector.cpu()
    if ship:
        write_weights(average, paths.shipped / name, provenance)
    write_json(checkpoint.with_name(COMPARISON), provenance["weights"])
    return checkpoint


def training_pictures(params: DetectParams, paths: DetectPaths) -> list[AnnotatedImage]:
    """Read the training split and what `detect.extra` and `detect.coco` add.

    Raises:
        DataError: a picture is of a place that another split measures on, or a picture of `detect.coco` is one that
            another split measures with.
    """
    pictures = read_annotated_images([split_file(paths.pulled, "train"), *params.extra])
    if (coco := params.coco) is not None:
        further = read_coco(coco.annotations, coco.images, coco.left_out)
        refuse_duplicates(further, coco, paths.pulled, params.near_duplicate_bits, paths.work)
        pictures += further
    refuse_measured((picture.place for picture in pictures), paths.pulled)
    return pictures


def weights_key(params: DetectParams, provenance: dict[str, Any], root: Path = ROOT) -> CacheKey:
    """Make the key of a checkpoint: inputs, parameters and the code that trains.

    Args:
        params: section `detect`.
        provenance: what the manifest of the weights says.
        root: folder that holds the packages of the project.
    """
    inputs = {"pictures": provenance["data"], "start": provenance["start"], "backbone": provenance.get("backbone", "")}
    named = ("detector", "params", "seed", "training", "card")
    given = {name: provenance[name] for name in named if name in provenance}
    views = params.model_dump(mode="json", include={"whole_share", "min_box"})
    return cache_key(["tasks.detection.training"], inputs=inputs, params={**given, "views": views}, root=root)


def features_key(
    params: DetectParams, training: TrainingParams, provenance: dict[str, Any], root: Path = ROOT
) -> CacheKey:
    """Make the key of the cached maps of frozen layers; neither a loss nor anything else behind them is part of it.

    Args:
        params: section `detect`.
        training: section `training`.
        provenance: what the manifest of the weights says.
        root: folder that holds the packages of the project.
    """
    used = {
        **params.model_dump(mode="json", include={"whole_share", "min_box", "seed"}),
        **params.detr.model_dump(mode="json", include={"size", "layers", "draws"}),
        "colour_jitter": training.colour_jitter,
    }
    inputs = {"pictures": provenance["data"], "backbone": provenance["backbone"]}
    modules = ["tasks.detection.samples", "tasks.detection.frozen", "tasks.training.feature_cache"]
    return cache_key(modules, inputs=inputs, params=used, root=root)


def _provenance(
    name: str,
    detector: Any,
    params: DetectParams,
    training: TrainingParams,
    paths: DetectPaths,
    pictures: Sequence[AnnotatedImage],
) -> dict[str, Any]:
    """What the manifest of the weights says of how they came about."""
    section = params.yolo if name == "yolo" else params.detr
    start = sha256_file(paths.shipped / name / WEIGHTS_FILE) if params.start == "shipped" else "random"
    found = {
        "detector": name,
        "params": section.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=NOT_IN_KEY),
        "seed": params.seed,
        "start": start,
        "pictures": len(pictures),
        "data": sha256("\n".join(picture.key for picture in pictures).encode()),
        "licence": "AGPL-3.0-or-later",
    }
    if detector.frozen is not None:
        found["backbone"] = sha256_file(paths.backbone / "model.safetensors")
    return found


def _feature_cache(
    detector: Any, params: DetectParams, training: TrainingParams, provenance: dict[str, Any], folder: Path
) -> FeatureCache | None:
    if detector.frozen is None:
        return None
    side, key = detector.frozen.side, features_key(params, training, provenance)
    shape = (detector.frozen.channels, side, side)
    return FeatureCache(folder / key.short, provenance["pictures"], params.detr.draws, shape)
