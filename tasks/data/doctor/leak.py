"""Whether the label follows from what made the file: a head that reads the camera scores well and says nothing of the picture.

Sets that are merged from a source of positives and one of negatives have this fault, and no split by place shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.data.cross_validation import Folds, Matrix, grouped_folds, logistic, predicted_accuracy
from tasks.data.doctor.findings import Doubt, Finding, Level
from tasks.data.examine import Facts

LIMIT = 0.8  # balanced accuracy; 0.5 is a guess
FEWEST = 20  # pictures of each label: with fewer, chance alone reaches the limit
FREQUENT = 20  # values of camera and source that are told apart
FILE_SIZE = "file size"
DEPTH, LEAF = 4, 5  # of the tree, and pictures a leaf, at least
SHOWN = 4  # pictures of each label on the sheet


@dataclass(frozen=True)
class SourceScore:
    """How well the label is predicted without the picture.

    Attributes:
        accuracy: balanced, of the better of both models, cross-validated by place; None where the set is too small.
        without_size: the same without the size of the file, which depends on what is shown, too.
        alone: the same of a tree that sees one property.
    """

    accuracy: float | None
    without_size: float | None
    alone: Mapping[str, float]


def properties(pictures: Sequence[Facts]) -> dict[str, Matrix]:
    """What is known of the files, (n, columns) each: names one-hot, numbers as they are."""
    width = np.array([one.width for one in pictures], dtype=np.float64)
    height = np.array([one.height for one in pictures], dtype=np.float64)
    size = np.array([one.size for one in pictures], dtype=np.float64)
    return {
        "image size": np.stack([width, height, np.log(width * height)], axis=1),
        "aspect": np.stack([width / height], axis=1),
        FILE_SIZE: np.stack([np.log(size), size / (width * height)], axis=1),
        "format": _one_hot([one.format for one in pictures]),
        "camera": _one_hot([one.camera for one in pictures]),
        "source": _one_hot([one.source for one in pictures]),
    }


def score_sources(pictures: Sequence[Facts], seed: int = 0) -> SourceScore:
    """Predict labels from the properties of files, by a logistic regression and a tree; folds keep places together."""
    label = np.array([one.label for one in pictures])
    if min(label.sum(), len(label) - label.sum()) < FEWEST:
        return SourceScore(None, None, {})
    # what is the same in all files tells nothing
    telling = {name: x for name, x in properties(pictures).items() if (x != x[0]).any()}
    folds = grouped_folds(label, [one.place for one in pictures], seed)
    fixed = [x for name, x in telling.items() if name != FILE_SIZE]
    return SourceScore(
        _best(list(telling.values()), label, folds, seed),
        _best(fixed, label, folds, seed),
        {name: predicted_accuracy(_tree(seed), x, label, folds) for name, x in telling.items()},
    )


def check_sources(pictures: Sequence[Facts], score: SourceScore) -> list[Finding]:
    """A finding where the label follows from the properties of files."""
    if score.accuracy is None or score.accuracy <= LIMIT:
        return []
    strong = [f"{name} alone {value:.2f}" for name, value in _by_strength(score.alone) if value > LIMIT]
    message = (
        f"the label is predicted without looking at a picture, balanced accuracy {score.accuracy:.2f} (a guess: 0.50)"
        + (f"; {', '.join(strong)}" if strong else "")
        + ". Positives and negatives come from different sources: add the label that each source lacks"
    )
    level: Level = "error"
    if (score.without_size or 0) <= LIMIT:
        level, message = "warning", f"{message}. Without the size of the file it is {score.without_size or 0.5:.2f}"
    names = ("clear", "roadwork")
    doubts = [
        Doubt(one.sha256, f"{names[label]}: {one.width}x{one.height} {one.camera or one.source}")
        for label in (0, 1)
        for one in [picture for picture in pictures if picture.label == label][:SHOWN]
    ]
    return [Finding(level, "source", message, tuple(doubts))]


def _by_strength(alone: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(alone.items(), key=lambda item: -item[1])


def _one_hot(values: Sequence[str]) -> Matrix:
    """Columns of 0 and 1 for the most frequent values; the others share none."""
    names, count = np.unique(values, return_counts=True)
    frequent = names[np.argsort(-count, kind="stable")][:FREQUENT]
    same: Matrix = (np.asarray(values)[:, None] == frequent[None, :]).astype(np.float64)
    return same


def _best(columns: list[Matrix], label: NDArray[Any], folds: Folds, seed: int) -> float:
    """The better of a logistic regression and a tree; a guess where there is nothing to see."""
    if not columns:
        return 0.5
    x = np.concatenate(columns, axis=1)
    return max(predicted_accuracy(model, x, label, folds) for model in (logistic(), _tree(seed)))


def _tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed)
