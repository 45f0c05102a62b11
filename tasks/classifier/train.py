"""Head, calibration and exits of stage 1 from features: what the steps `train` and `probe` write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tasks.classifier.calibrate import calibrate
from tasks.classifier.explain import RawHead, source_shortcuts
from tasks.classifier.kept_logits import read_kept_logits, scores_on, shift
from tasks.classifier.trained import TrainedClassifier, flat_logits
from tasks.classifier.weights import ADAPTED
from tasks.common.files import read_json
from tasks.common.metrics import write_metrics
from tasks.common.plots import draw_all
from tasks.config.learn import TrainParams
from tasks.data.feature_store import FINGERPRINT, TTA_SPLIT, SplitFeatures, load_split
from tasks.data.schema import DataError
from tasks.training.balance import Balance

if TYPE_CHECKING:
    from tasks.classifier.head import Head

HEADLINE = ("mcc", "reward", "exit_share")


def train_to_files(
    params: TrainParams,
    features: Path,
    folder: Path,
    reports: Path,
    *,
    prior: float | None,
    more: Path | None = None,
    views: int | None = None,
    adapted: Path = ADAPTED,
    balance: Balance | None = None,
) -> dict[str, Any]:
    """Train a head, and write head.safetensors, head.json, metrics.json and plots.

    Args:
        params: section `train`.
        features: of the pulled splits.
        folder: where the head goes.
        reports: where metrics and plots go.
        prior: share of roadwork that loss, calibration, exits and figures are for; None for the data's own.
        more: features of further training pictures.
        views: of each training picture, so many; None for all.
        adapted: where `train.start: adapted` finds a head to begin with.
        balance: how much each picture counts in the loss; None for the prior alone.

    Returns:
        The metrics, and what explains them: see `tasks.classifier.explain`.

    Raises:
        DataError: features or the head to begin with are missing, or the calibration split lacks a class.
    """
    splits, common = read_features(features, params, views, more)
    start = head_to_start_from(params, adapted, splits["train"].x.shape[-1], common["channels"])
    raw = RawHead(splits["calibration"])
    kept = read_kept_logits(adapted) if start else None
    before = flat_logits(start, splits["calibration"])[0] if start and kept else None
    head = _fit_head(splits["train"], params, common["channels"], start, balance or Balance(prior), raw)
    moved = 0.0 if before is None else shift(before, flat_logits(head, splits["calibration"])[0])
    used = kept if moved <= params.max_shift else None
    trained = calibrate(head, splits, params, balance or Balance(prior), used)
    trained.save(folder, params, common)
    metrics = trained.metrics(splits["train"])
    if kept is not None:
        metrics["photographs"] = {"used": used is not None, **scores_on(kept, trained, params, moved)}
    metrics["weights"] = raw.beside(trained.head, prior)
    metrics["shortcut"] = source_shortcuts(trained.head, splits["train"], params.seed)
    draw_all(trained.label, trained.p, reports / "plots", "calibration", prior=prior)
    write_metrics(reports / "metrics.json", metrics, HEADLINE)
    return metrics


def read_features(
    features: Path, params: TrainParams, views: int | None, more: Path | None
) -> tuple[dict[str, SplitFeatures], dict[str, Any]]:
    """Read the splits that training needs.

    Args:
        features: of the pulled data.
        params: section `train`; the augmented views are read where it asks for them.
        views: of each training picture, so many; None for all.
        more: features of further training pictures.

    Returns:
        The splits by name, and what the features say of themselves.

    Raises:
        DataError: features are missing, or the calibration split lacks a class.
    """
    splits = {"train": load_split(features, "train", views, more), "calibration": load_split(features, "calibration")}
    if len(np.unique(splits["calibration"].label)) < 2:
        raise DataError("the calibration split has one class only; it needs roadwork and clear streets")
    if params.tta_band:
        splits[TTA_SPLIT] = load_split(features, TTA_SPLIT)
    return splits, read_json(features / FINGERPRINT)


def head_to_start_from(params: TrainParams, adapted: Path, width: int, channels: int) -> Head | None:
    """Load the head that the backbone's changes were trained with; None where `train.start` asks for random weights.

    Args:
        params: section `train`.
        adapted: folder of the adapted backbone.
        width: numbers a picture.
        channels: numbers a token.

    Raises:
        DataError: it is missing, or of another shape.
    """
    from tasks.classifier.head import HEAD_FILE, HeadShape, load_head

    file = adapted / HEAD_FILE
    if params.start == "random":
        return None
    if not file.is_file():
        raise DataError(f"{file}: no such file; `dvc repro adapt` writes it, or set train.start to random")
    try:
        return load_head(adapted, HeadShape.of_params(params, width, channels), params)
    except RuntimeError:
        raise DataError(
            f"{file}: of another shape than train.head and train.hidden ask for; set train.start to random"
        ) from None


def train_classifier(
    splits: dict[str, SplitFeatures],
    params: TrainParams,
    channels: int,
    start: Head | None,
    balance: Balance,
    raw: Callable[[Head], object] | None = None,
) -> TrainedClassifier:
    """Train the head on the training split; fit calibration and exits on the calibration split alone.

    Args:
        splits: see `read_features`.
        params: section `train`.
        channels: numbers a token.
        start: see `head_to_start_from`.
        balance: how much each picture counts in the loss; its prior is that of calibration and exits too.
        raw: see `tasks.classifier.fit.fit_head`.
    """
    head = _fit_head(splits["train"], params, channels, start, balance, raw)
    return calibrate(head, splits, params, balance)


def _fit_head(
    train: SplitFeatures,
    params: TrainParams,
    channels: int,
    start: Head | None,
    balance: Balance,
    raw: Callable[[Head], object] | None,
) -> Head:
    from tasks.classifier.fit import fit_head

    with tqdm(total=params.epochs, desc="train", unit="epoch") as bar:

        def progress(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}")
            bar.update()

        return fit_head(train, params, progress, channels, start, balance=balance, raw=raw)
