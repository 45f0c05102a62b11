"""The averaged weights take the place of the raw ones, and both are measured on a few calibration pictures first.

Import this only where torch is wanted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.classifier.lora.model import LoraBackbone
from tasks.classifier.lora.samples import LabelledViews, TrainingView
from tasks.data.annotated_images import read_annotated_images
from tasks.data.schema import split_file
from tasks.training.raw_and_averaged import compare_weights, spread_rows

PICTURES = 64  # one view of each, two passes: seconds after a training of an hour
BATCH = 16


def take_average(
    model: LoraBackbone, average: dict[str, torch.Tensor], pulled: Path, views: dict[str, Any], prior: float | None
) -> dict[str, Any]:
    """Measure both weights and leave the averaged ones in the model.

    Args:
        model: with the weights of the last step.
        average: tensors of what was trained.
        pulled: the splits as parquet; the calibration split is not trained on.
        views: settings of `LabelledViews`.
        prior: share of roadwork that the figures are for.

    Returns:
        See `compare_weights`; empty where there are no calibration pictures of both labels.
    """
    aside = _views_aside(pulled, views)
    raw = _logits(model, aside)
    model.load_state_dict(average, strict=False)
    label = [view.label for view in aside]
    if len(set(label)) < 2:
        return {}
    return compare_weights(label, raw, _logits(model, aside), prior=prior, setting="training.ema_decay")


def _views_aside(pulled: Path, views: dict[str, Any]) -> list[TrainingView]:
    path = split_file(pulled, "calibration")
    if not path.is_file():
        return []
    pictures = read_annotated_images([path], boxless=True)
    chosen = [pictures[row] for row in spread_rows([picture.label for picture in pictures], PICTURES)]
    samples = LabelledViews(chosen, **views)
    return [samples(number) for number in range(len(chosen))]


def _logits(model: LoraBackbone, views: list[TrainingView]) -> NDArray[np.float64]:
    """What the model answers, not calibrated, (n,)."""
    model.eval()
    parts = [np.stack([view.pixels for view in views[start : start + BATCH]]) for start in range(0, len(views), BATCH)]
    with torch.no_grad():
        answers = [model.logits(torch.from_numpy(part)).double().cpu().numpy() for part in parts]
    return np.concatenate([np.zeros(0), *answers])
