"""What each further source is worth: a head trained without it, and measured on it beside the one that saw it.

A classifier may learn the camera of a source in place of its roadworks, all the more where the source has one label
alone. Its own pictures cannot show that; those of a source that was left out of the training can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.scores import classification_scores
from tasks.classifier.train import head_to_start_from, read_features, train_classifier
from tasks.classifier.trained import TrainedClassifier, flat_logits
from tasks.classifier.weights import ADAPTED
from tasks.common.files import write_json
from tasks.config.learn import TrainParams
from tasks.data.feature_store import SplitFeatures
from tasks.data.schema import DataError
from tasks.training.balance import MAIN, Balance

REPORT = "leave_one_out.json"


def leave_one_out(
    params: TrainParams,
    balance: Balance,
    features: Path,
    reports: Path,
    *,
    more: Path | None = None,
    adapted: Path = ADAPTED,
) -> dict[str, Any]:
    """Train once with all sources and once without each, and write leave_one_out.json.

    Args:
        params: section `train`.
        balance: names the further sources.
        features: of the pulled splits.
        reports: where the report goes.
        more: features of further training pictures.
        adapted: where `train.start: adapted` finds a head to begin with.

    Returns:
        For each source its number of pictures by label and the scores on it of the head that saw its training pictures
        and of the one that did not (`with` and `without`), and what the rest of the calibration split loses (`rest`).

    Raises:
        DataError: there are no further sources.
    """
    splits, common = read_features(features, params, None, more)
    sources = sorted({balance.group(one) for one in splits["train"].source or ()} - {MAIN})
    if not sources:
        raise DataError("no further sources in the training split; pull.beside in params.yaml adds them")

    def fitted(keep: NDArray[np.bool_]) -> TrainedClassifier:
        start = head_to_start_from(params, adapted, splits["train"].x.shape[-1], common["channels"])
        return train_classifier(
            {**splits, "train": splits["train"].only(keep)}, params, common["channels"], start, balance
        )

    whole = fitted(np.ones(len(splits["train"].label), dtype=bool))
    report = {name: _without(name, splits, balance, whole, fitted(~_rows(splits["train"], name))) for name in sources}
    write_json(reports / REPORT, report)
    return report


def _without(
    name: str,
    splits: dict[str, SplitFeatures],
    balance: Balance,
    whole: TrainedClassifier,
    other: TrainedClassifier,
) -> dict[str, Any]:
    learned, measured = splits["train"], splits["calibration"]
    own, rest = _rows(measured, name), ~_rows(measured, name)
    # a source that is trained on alone has no other pictures
    on = measured.only(own) if own.any() else learned.only(_rows(learned, name))
    labels = learned.label[_rows(learned, name)]
    return {
        "pictures": {"roadwork": int(np.sum(labels == 1)), "clear": int(np.sum(labels == 0))},
        "measured_on": "calibration" if own.any() else "train",
        "with": _scores(whole, on, balance),
        "without": _scores(other, on, balance),
        "rest": {
            "with": _scores(whole, measured.only(rest), balance),
            "without": _scores(other, measured.only(rest), balance),
        },
    }


def _scores(trained: TrainedClassifier, split: SplitFeatures, balance: Balance) -> dict[str, float]:
    """MCC, accuracy, recall and AUC of a head on pictures, where they are defined, with n, the views."""
    logit, label, _ = flat_logits(trained.head, split)
    found = classification_scores(label, trained.calibration(logit), prior=balance.prior)
    return {name: round(found[name], 4) for name in ("mcc", "accuracy", "recall", "auc", "n") if name in found}


def _rows(split: SplitFeatures, source: str) -> NDArray[np.bool_]:
    return np.array([one == source for one in split.source or ()], dtype=bool)
