"""How well plain models predict a class from columns of numbers, cross-validated: balanced accuracy, 1/classes is a guess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

FOLDS = 5
Matrix = NDArray[np.float64]
Folds = list[tuple[NDArray[Any], NDArray[Any]]]


def grouped_folds(kind: NDArray[Any], places: Sequence[str], seed: int) -> Folds:
    """Share rows out to folds that hold every class.

    Places stay together where there are enough of each class, else a drive's own camera would give its class away.

    Args:
        kind: class of each row, (n,).
        places: split key of each row.
        seed: of the shares.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    names = np.array(places)
    enough = all(len(np.unique(names[kind == value])) >= FOLDS for value in np.unique(kind))
    if not enough:
        return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(kind[:, None], kind))
    return list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(kind[:, None], kind, names))


def predicted_accuracy(model: ClassifierMixin, x: Matrix, kind: NDArray[Any], folds: Folds) -> float:
    """Balanced accuracy on rows that the model was not fitted on; x is (n, columns), kind (n,)."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import cross_val_predict

    return float(balanced_accuracy_score(kind, cross_val_predict(model, x, kind, cv=folds)))


def logistic() -> Any:
    """A logistic regression on standardized columns in which every class weighs the same."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
