"""Whether features tell which source a picture is from, among pictures of one label.

Sets of photographs are told apart with ease (Torralba and Efros 2011, "Unbiased look at dataset bias"). That harms where
the sources hold different shares of roadwork: a head then learns the camera in place of the works, and no score on the
same sources shows it (Geirhos et al. 2020, "Shortcut learning in deep neural networks").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.probability import LABELS
from tasks.data.cross_validation import grouped_folds, logistic, predicted_accuracy

FEWEST = 20  # pictures of a source and label: with fewer, chance alone is far from its mean
MOST = 100  # of a source and label that are looked at
MARGIN = 0.1  # over chance, at least, and ...
SURE = 3.0  # ... so many standard errors of a guess, before a source counts as told
STRONG = 0.6  # balanced accuracy of the label from the source alone, from which on a shortcut pays


Rows = NDArray[np.int64]


def find_shortcuts(
    features: Callable[[Rows], NDArray[Any]],
    label: NDArray[np.int64],
    source: Sequence[str] | None,
    place: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Predict the source of pictures from their features, label by label.

    Args:
        features: gives those of some rows, (rows, columns).
        label: 0 or 1, (n,).
        source: of each picture; None where nobody knows.
        place: split key of each picture; a place is never on both sides of a fold.
        seed: of folds and of the pictures that are looked at.

    Returns:
        By name of the label: balanced accuracy beside chance, or why there is none; and `label_from_source`, how well
        the source alone tells the label (0.5 is a guess). Each with a sentence.
    """
    if source is None:
        return {"skipped": "the features do not say where their pictures are from; `dvc repro embed` writes them anew"}
    names = np.array(source)
    told = label_from_source(label, names)
    found: dict[str, Any] = {"label_from_source": round(told, 4)}
    for number, name in enumerate(LABELS):
        found[name] = _of_label(features, label == number, names, np.array(place), told, seed)
    return found


def label_from_source(label: NDArray[np.int64], source: NDArray[np.str_]) -> float:
    """Balanced accuracy of the best rule that sees the source alone: 0.5 where each has the same share of roadwork."""
    if len(np.unique(label)) < 2:
        return 0.5
    apart = [abs(np.mean(source[label == 1] == one) - np.mean(source[label == 0] == one)) for one in np.unique(source)]
    return float(0.5 + sum(apart) / 4)


def _of_label(
    features: Callable[[Rows], NDArray[Any]],
    rows: NDArray[np.bool_],
    source: NDArray[np.str_],
    place: NDArray[np.str_],
    told: float,
    seed: int,
) -> dict[str, Any]:
    names, count = np.unique(source[rows], return_counts=True)
    enough = [str(name) for name, pictures in zip(names, count, strict=True) if pictures >= FEWEST]
    if len(enough) < 2:
        return {"skipped": _why_not([str(name) for name in names], enough)}
    chosen = _some(rows, source, enough, seed)
    kind = source[chosen]
    folds = grouped_folds(kind, place[chosen].tolist(), seed)
    score = predicted_accuracy(logistic(), np.asarray(features(chosen), dtype=np.float64), kind, folds)
    chance = 1 / len(enough)
    limit = chance + max(MARGIN, SURE * _error_of_guess(kind))
    return {
        "sources": len(enough),
        "pictures": len(chosen),
        "balanced_accuracy": round(score, 4),
        "chance": round(chance, 4),
        "limit": round(limit, 4),
        "found": score > limit,
        "sentence": _sentence(score, chance, told, found=score > limit),
    }


def _some(rows: NDArray[np.bool_], source: NDArray[np.str_], names: Sequence[str], seed: int) -> Rows:
    """Row numbers of at most MOST pictures a source."""
    random = np.random.default_rng(seed)
    parts = [np.flatnonzero(rows & (source == name)) for name in names]
    return np.sort(np.concatenate([random.permutation(part)[:MOST] for part in parts]))


def _error_of_guess(kind: NDArray[Any]) -> float:
    """Standard error of the balanced accuracy of a guess, with so many pictures a class."""
    _, count = np.unique(kind, return_counts=True)
    chance = 1 / len(count)
    return float(np.sqrt(np.sum(chance * (1 - chance) / count)) / len(count))


def _why_not(names: Sequence[str], enough: Sequence[str]) -> str:
    if len(names) < 2:
        return f"all pictures of this label are of one source ({names[0]})" if names else "no picture has this label"
    return f"of {len(names)} sources {len(enough)} have {FEWEST} pictures of this label; two are needed"


def _sentence(score: float, chance: float, told: float, *, found: bool) -> str:
    given = f"balanced accuracy {score:.2f}, chance {chance:.2f}"
    if not found:
        return f"the features do not tell the source ({given})"
    if told < STRONG:
        return (
            f"the features tell the source ({given}), but the source does not tell the label (balanced accuracy "
            f"{told:.2f}, a guess: 0.50), so that a shortcut gains nothing here"
        )
    return (
        f"a shortcut is there: the features tell the source ({given}), and the source tells the label (balanced accuracy "
        f"{told:.2f}, a guess: 0.50); look at `python -m tasks.train --leave-one-out`, or add the label that a source lacks"
    )
