"""Which pictures of a training are hard, by the weights that it begins with: import this only where torch is wanted.

Most of a trained classifier's loss is of few pictures (two thirds of it of a quarter of them, on pictures that it had
not seen). Showing those more often spends the steps where there is something left to learn; Platt scaling, fitted
afterwards on pictures as they come, takes out what it does to the probabilities.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from tasks.classifier.lora.model import LoraBackbone, view_target
from tasks.classifier.lora.samples import LabelledViews, TrainingView
from tasks.classifier.losses import has_visible_label
from tasks.common.files import write_bytes
from tasks.config.learn import AdaptParams


def times_shown(
    model: LoraBackbone, samples: LabelledViews, params: AdaptParams, covered: float, kept: Path
) -> list[int]:
    """Give how often an epoch shows each picture: `hard_repeats` the hardest of each label, once the others.

    Args:
        model: with the weights that the training begins with.
        samples: of all pictures, each once an epoch.
        params: section `adapt`; with `hard_repeats: 1` nothing is measured.
        covered: share of a patch under a box from which it counts as works.
        kept: a file for what was measured; a training that goes on reads it, for its model has moved on.
    """
    count = len(samples.pictures)
    if params.hard_repeats == 1:
        return [1] * count
    if not kept.is_file():
        losses = measure_losses(model, samples, params.batch_size, params.hard_views, covered)
        write_bytes(kept, losses.astype("<f4").tobytes())
    losses = np.frombuffer(kept.read_bytes(), dtype="<f4")
    labels = np.array([picture.label for picture in samples.pictures])
    times = np.ones(count, dtype=int)
    for label in np.unique(labels):
        # label by label: focal loss leaves one of them less sure than the other, which says nothing of pictures
        rows = np.flatnonzero(labels == label)
        hardest = np.argsort(-losses[rows], kind="stable")[: round(params.hard_share * len(rows))]
        times[rows[hardest]] = params.hard_repeats
    repeats: list[int] = times.tolist()
    return repeats


def measure_losses(
    model: LoraBackbone, samples: LabelledViews, batch: int, views: int, covered: float
) -> NDArray[np.float64]:
    """Measure the cross-entropy of each picture's label.

    Args:
        model: answers for the views.
        samples: of all pictures, each once an epoch.
        batch: views at once.
        views: of each picture.
        covered: share of a patch under a box from which it counts as works.

    Returns:
        Mean over the views, (pictures,); a view that does not show the works counts as 0.
    """
    model.eval()
    numbers = range(views * len(samples.pictures))
    sums = np.zeros(len(samples.pictures))
    for start in tqdm(numbers[::batch], desc="hardness", unit="batch"):
        rows = numbers[start : start + batch]
        losses = _batch_losses(model, [samples(index) for index in rows], covered)
        np.add.at(sums, [samples.key(index)[0] for index in rows], losses)
    return sums / views


def _batch_losses(model: LoraBackbone, views: list[TrainingView], covered: float) -> NDArray[np.float64]:
    """Cross-entropy of each view, (n,)."""
    targets = [view_target(view) for view in views]
    label, cover = (torch.stack([getattr(target, name) for target in targets]) for name in ("label", "cover"))
    with torch.no_grad():
        logit = model.logits(torch.from_numpy(np.stack([view.pixels for view in views]))).cpu()
    loss = functional.binary_cross_entropy_with_logits(logit, label, reduction="none")
    counted: NDArray[np.float64] = (loss * has_visible_label(label, cover, covered)).double().numpy()
    return counted
