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
from tasks.classifier.lora.samples import LabelledViews
from tasks.classifier.losses import has_visible_label
from tasks.common.files import write_bytes

VIEWS = 2
HARDEST = 0.25


def times_shown(model: LoraBackbone, samples: LabelledViews, batch: int, hard_repeats: int, kept: Path) -> list[int]:
    """Give how often an epoch shows each picture: `hard_repeats` the hardest quarter of each label, once the others.

    Args:
        model: with the weights that the training begins with.
        samples: of all pictures, each once an epoch.
        batch: views at once.
        hard_repeats: 1 for all alike, and nothing is measured.
        kept: a file for what was measured; a training that goes on reads it, for its model has moved on.
    """
    count = len(samples.pictures)
    if hard_repeats == 1:
        return [1] * count
    if not kept.is_file():
        write_bytes(kept, _losses(model, samples, batch).astype("<f4").tobytes())
    losses = np.frombuffer(kept.read_bytes(), dtype="<f4")
    label = np.array([picture.label for picture in samples.pictures])
    times = np.ones(count, dtype=int)
    for one in np.unique(label):
        # label by label: focal loss leaves one of them less sure than the other, which says nothing of pictures
        rows = np.flatnonzero(label == one)
        times[rows[np.argsort(-losses[rows], kind="stable")[: round(HARDEST * len(rows))]]] = hard_repeats
    shown: list[int] = times.tolist()
    return shown


def _losses(model: LoraBackbone, samples: LabelledViews, batch: int) -> NDArray[np.float64]:
    """Cross-entropy of each picture's label, mean over `VIEWS` views; one that does not show the works counts as 0."""
    model.eval()
    numbers = range(VIEWS * len(samples.pictures))
    sums = np.zeros(len(samples.pictures))
    for start in tqdm(numbers[::batch], desc="hardness", unit="batch"):
        rows = numbers[start : start + batch]
        shown = [samples(index) for index in rows]
        targets = [view_target(one) for one in shown]
        with torch.no_grad():
            logit = model.logits(torch.from_numpy(np.stack([one.pixels for one in shown])))
        label, cover = (torch.stack([getattr(one, name) for one in targets]) for name in ("label", "cover"))
        loss = functional.binary_cross_entropy_with_logits(logit.cpu(), label, reduction="none") * has_visible_label(
            label, cover
        )
        np.add.at(sums, [samples.key(index)[0] for index in rows], loss.double().numpy())
    return sums / VIEWS
