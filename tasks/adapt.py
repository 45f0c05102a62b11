"""Step `adapt`: the backbone of stage 1 with low-rank changes that suit roadworks merged into it, and their head.

`python -m tasks.adapt` reads models/backbone and writes models/adapted, a backbone of the same shape. With
`adapt.mode: shipped` the changes are those of models/shipped/adapter; with `train` they are made here from the training
split, checkpoints in var/adapt, and a run that was stopped goes on where it was; with `off` nothing is changed.
`--ship` puts what was trained into models/shipped/adapter.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.classifier.weights import ADAPTED, BACKBONE, MANIFEST, MODEL_FILE
from tasks.common.files import sha256, sha256_file
from tasks.config import AdaptParams, ConfigError, Params, load_params
from tasks.data.schema import DataError, split_file
from tasks.training.pictures import AnnotatedImage, read_annotated_images, refuse_measured

SHIPPED = Path("models/shipped/adapter")
MEASURED = 64  # views that the head takes mean and spread of features from


@dataclass(frozen=True)
class Folders:
    """Where the step reads and writes.

    Attributes:
        backbone: a `Dinov2Model` folder.
        pulled: the splits as parquet.
        shipped: changes that come with the project.
        work: checkpoints; may be deleted at any time.
        adapted: the step's output.
    """

    backbone: Path = BACKBONE
    pulled: Path = Path("data/pulled")
    shipped: Path = SHIPPED
    work: Path = Path("var/adapt")
    adapted: Path = ADAPTED


def adapt(params: Params, folders: Folders | None = None, *, ship: bool = False) -> None:
    """Write the adapted backbone with a manifest of its files' digests.

    Args:
        params: sections `adapt`, `embed` (which layers are read) and `train` (the loss).
        folders: where everything is.
        ship: keep trained changes in `folders.shipped`.

    Raises:
        DataError: no backbone, no pictures, or shipped changes that are damaged or of another backbone or layers.
    """
    folders = folders or Folders()
    if not (folders.backbone / MANIFEST).is_file():
        raise DataError(f"{folders.backbone / MANIFEST}: no such file; `dvc repro pull_weights` writes it")
    from tasks.classifier.lora.weights import check, copy_changes, merge

    if params.adapt.mode == "off":
        merge(folders.backbone, folders.adapted, {"kind": "backbone"}, None)
        return
    changes = folders.shipped
    if params.adapt.mode == "train":
        changes = _train(params, folders)
        if ship:
            copy_changes(changes, folders.shipped)
    manifest = check(changes, folders.backbone, params.embed.layers)
    origin = {"kind": "adapted", "changes": manifest["files"], "backbone": manifest["backbone"]}
    merge(folders.backbone, folders.adapted, origin, changes)


def _train(params: Params, folders: Folders) -> Path:
    """Train, or go on with it; gives the folder of the changes."""
    import torch

    from tasks.classifier.lora.hardness import times_shown
    from tasks.classifier.lora.model import LoraBackbone, view_target
    from tasks.classifier.lora.samples import LabelledViews
    from tasks.classifier.lora.weights import check, save_changes
    from tasks.training.loop import TrainingPlan, train

    own, size = params.adapt, params.embed.size
    torch.set_num_threads(own.threads)
    pictures = _pictures(own, folders)
    about = _about(params, folders, [picture.key for picture in pictures])
    if own.start == "shipped":
        about["start"] = check(folders.shipped, folders.backbone, params.embed.layers)["files"]
    fingerprint = sha256(json.dumps(about, sort_keys=True).encode())[:12]
    work = folders.work / fingerprint
    model = LoraBackbone(folders.backbone, params.embed.layers, size, own, params.train)
    views = {"seed": own.seed, "size": size, "cells": model.head.side}
    samples = LabelledViews(pictures, **views)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if own.start == "shipped":
        _go_on(model, folders.shipped)
    else:
        model.measure(np.stack([samples(number).pixels for number in range(MEASURED)]))
    times = times_shown(model, samples, own.batch_size, own.hard_repeats, work / "hardness.f32")
    plan = TrainingPlan(own.steps, own.batch_size, own.learning_rate, own.seed, fingerprint)
    samples = LabelledViews(pictures, **views, times=times)
    average = train(model, samples, plan, work / "checkpoint.safetensors", target=view_target)
    model.load_state_dict(average, strict=False)
    save_changes(model.cpu().low_rank, model.head, work / "changes", about)
    return work / "changes"


def _go_on(model: Any, changes: Path) -> None:
    try:
        model.go_on(changes)
    except RuntimeError as error:
        raise DataError(
            f"{changes}: does not fit adapt.rank, adapt.frozen_blocks or train.hidden; set adapt.start to random"
        ) from error


def _pictures(params: AdaptParams, folders: Folders) -> list[AnnotatedImage]:
    pictures = read_annotated_images([split_file(folders.pulled, "train"), *params.extra], boxless=True)
    refuse_measured(pictures, folders.pulled)
    return pictures


def _about(params: Params, folders: Folders, keys: list[str]) -> dict[str, Any]:
    """What the changes depend on, for the checkpoint's name and the shipped manifest."""
    loss = {"hidden", "box_weight", "gamma", "alpha", "label_smoothing"}
    return {
        "params": params.adapt.model_dump(mode="json", exclude={"mode", "extra", "threads"}),
        "loss": params.train.model_dump(mode="json", include=loss),
        "layers": list(params.embed.layers),
        "size": params.embed.size,
        "backbone": sha256_file(folders.backbone / MODEL_FILE),
        "pictures": len(keys),
        "data": sha256("\n".join(keys).encode()),
        "licence": "AGPL-3.0-or-later",
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; bad input is one message on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tasks.adapt", description=__doc__)
    parser.add_argument("--ship", action="store_true", help="keep what was trained in models/shipped/adapter")
    options = parser.parse_args(arguments)
    try:
        adapt(load_params(), ship=options.ship)
    except (ConfigError, ValueError, OSError) as error:
        print(f"adapt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
