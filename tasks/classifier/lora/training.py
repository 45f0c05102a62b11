"""The training of low-rank changes to the backbone: import this only where torch is wanted, it loads at the top."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.classifier.lora.hardness import times_shown
from tasks.classifier.lora.model import LoraBackbone, view_target
from tasks.classifier.lora.paths import AdaptPaths
from tasks.classifier.lora.samples import LabelledViews
from tasks.classifier.lora.take_average import take_average
from tasks.classifier.lora.weights import WEIGHTS, check_changes, save_changes
from tasks.classifier.weights import MODEL_FILE
from tasks.common.cache_key import CacheKey, cache_key
from tasks.common.files import sha256, sha256_file
from tasks.common.imports import ROOT
from tasks.config import Params
from tasks.data.annotated_images import AnnotatedImage, read_annotated_images, refuse_measured
from tasks.data.schema import DataError, split_file
from tasks.training.balance import Balance
from tasks.training.feature_cache import FeatureCache
from tasks.training.resumable import NOT_IN_KEY, TrainingPlan, train

LOSS = {
    *("hidden", "conv", "box_weight", "box_covered", "box_free", "box_positive_weight"),
    *("gamma", "alpha", "label_smoothing"),
}

# what of section `adapt` bears on the tokens in front of the trained blocks
TOKENS = {"start", "rank", "frozen_blocks", "trained_blocks", "draws", "camera", "seed"}


def train_changes(params: Params, paths: AdaptPaths) -> Path:
    """Train, or go on with it.

    Args:
        params: sections `adapt`, `training`, `embed` (which layers are read) and `train` (head and loss), and the
            prior, which the loss is for.
        paths: folders; the checkpoint lies in `work`, under a name that stands for all that the changes depend on.

    Returns:
        The folder of the changes; its manifest compares the averaged weights, which they are, with the raw ones.

    Raises:
        NonFiniteError: see `tasks.training.loop.Trainer.run`.
        DataError: no pictures, or pictures of places that are measured on; or the shipped changes, where the training
            begins with them, are damaged or of another shape.
    """
    own, size = params.adapt, params.embed.size
    torch.set_num_threads(own.threads)
    pictures = training_pictures(params, paths)
    provenance = _provenance(params, paths, pictures)
    key = changes_key(params, provenance)
    work = paths.work / key.short
    model = LoraBackbone(paths.backbone, params.embed.layers, size, own, params.train)
    views = {
        "seed": own.seed,
        "size": size,
        "cells": model.head.side,
        "colour_jitter": params.training.colour_jitter,
        "camera": own.camera,
        "draws": own.draws,
    }
    samples = LabelledViews(pictures, **views)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    _initialise(model, samples, params, paths.shipped)
    begun = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    times = times_shown(model, samples, own, params.train.box_covered, work / "hardness.f32")
    plan = TrainingPlan(own.steps, own.batch_size, own.learning_rate, own.seed, key.digest, params.training)
    samples = LabelledViews(pictures, **views, times=times, balance=Balance.of_params(params))
    cache = _token_cache(model, params, provenance, paths.work)
    average = train(model, samples, plan, work / "checkpoint.safetensors", target=view_target, cache=cache)
    average = {name: torch.lerp(tensor, begun[name], own.start_share) for name, tensor in average.items()}
    provenance[WEIGHTS] = take_average(model, average, paths.pulled, views, params.prior)
    save_changes(model.cpu().low_rank, model.head, work / "changes", provenance)
    return work / "changes"


def training_pictures(params: Params, paths: AdaptPaths) -> list[AnnotatedImage]:
    """Read the training split and what `adapt.extra` adds.

    Raises:
        DataError: a picture is of a place that another split measures on.
    """
    pictures = read_annotated_images([split_file(paths.pulled, "train"), *params.adapt.extra], boxless=True)
    refuse_measured((picture.place for picture in pictures), paths.pulled)
    return pictures


def changes_key(params: Params, provenance: dict[str, Any], root: Path = ROOT) -> CacheKey:
    """Make the key of the checkpoint: inputs, parameters and the code that trains.

    Args:
        params: all.
        provenance: what the manifest of the changes says.
        root: folder that holds the packages of the project.
    """
    inputs = {"backbone": provenance["backbone"], "pictures": provenance["data"], **provenance.get("start", {})}
    loss = params.train.model_dump(mode="json", include=LOSS)
    given = {name: provenance[name] for name in ("params", "layers", "size", "balance")}
    training = params.training.model_dump(mode="json", exclude=NOT_IN_KEY)
    return cache_key(
        ["tasks.classifier.lora.training"],
        inputs=inputs,
        params={**given, "loss": loss, "training": training},
        root=root,
    )


def _provenance(params: Params, paths: AdaptPaths, pictures: list[AnnotatedImage]) -> dict[str, Any]:
    """What the manifest of the changes says of how they came about."""
    found = {
        "params": params.adapt.model_dump(mode="json", exclude={"mode", "extra", "threads"}),
        "training": params.training.model_dump(mode="json", exclude=NOT_IN_KEY),
        "loss": params.train.model_dump(mode="json", include=LOSS),
        "layers": list(params.embed.layers),
        "size": params.embed.size,
        "balance": asdict(Balance.of_params(params)),
        "backbone": sha256_file(paths.backbone / MODEL_FILE),
        "pictures": len(pictures),
        "data": sha256("\n".join(_named(picture, params) for picture in pictures).encode()),
        "licence": "AGPL-3.0-or-later",
    }
    if params.adapt.start == "shipped":
        found["start"] = check_changes(paths.shipped, paths.backbone, params.embed.layers)["files"]
    return found


def tokens_key(params: Params, provenance: dict[str, Any], root: Path = ROOT) -> CacheKey:
    """Make the key of the tokens in front of the trained blocks; arguments as in `changes_key`."""
    own = params.adapt.model_dump(mode="json", include=TOKENS)
    inputs = {"backbone": provenance["backbone"], "pictures": provenance["data"], **provenance.get("start", {})}
    modules = ["tasks.classifier.lora.samples", "tasks.classifier.lora.model", "tasks.training.feature_cache"]
    used = {**own, "size": params.embed.size, "layers": params.embed.layers, "jitter": params.training.colour_jitter}
    return cache_key(modules, inputs=inputs, params=used, root=root)


def _token_cache(model: LoraBackbone, params: Params, provenance: dict[str, Any], work: Path) -> FeatureCache | None:
    if params.adapt.draws is None:
        return None
    tokens, hidden = model.backbone.positions.shape[1:]
    folder = work / f"tokens-{tokens_key(params, provenance).short}"
    return FeatureCache(folder, provenance["pictures"], params.adapt.draws, (1, tokens, hidden))


def _named(picture: AnnotatedImage, params: Params) -> str:
    """A picture's key, with its source where that bears on its weight."""
    return f"{picture.key} {picture.source}" if params.pull.beside else picture.key


def _initialise(model: LoraBackbone, samples: LabelledViews, params: Params, shipped: Path) -> None:
    """Load the shipped changes, or let the random head take mean and spread of some views."""
    if params.adapt.start == "random":
        model.standardize(np.stack([samples(number).pixels for number in range(params.adapt.scale_views)]))
        return
    try:
        model.load_changes(shipped)
    except RuntimeError as error:
        raise DataError(
            f"{shipped}: does not fit adapt.rank, adapt.frozen_blocks or train.hidden; set adapt.start to random"
        ) from error
