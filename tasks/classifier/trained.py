"""A trained head with its calibration and exits: its figures and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.scores import classification_scores
from tasks.classifier.calibration import Calibration
from tasks.classifier.exits import Exit
from tasks.common.files import new_folder, write_json
from tasks.config.learn import TrainParams
from tasks.data.feature_store import SplitFeatures

if TYPE_CHECKING:
    from tasks.classifier.head import Head

Floats = NDArray[np.float64]
HEAD_DOCUMENT = "head.json"


@dataclass(frozen=True)
class TrainedClassifier:
    """A head with its calibration and exits.

    Attributes:
        head: in evaluation mode.
        calibration: of its logits, as they are served.
        exits: `high` and `low`.
        label: of the views of the calibration split, (n,), 0 or 1.
        p: their probabilities of roadwork, (n,).
    """

    head: Head
    calibration: Calibration
    exits: dict[str, Exit]
    label: NDArray[np.int64]
    p: Floats

    def metrics(self, learned: SplitFeatures) -> dict[str, Any]:
        """Scores on the calibration split, what leaves at each exit, and the MCC on `learned`, the training split."""
        scores: dict[str, Any] = {
            name: round(value, 6) for name, value in classification_scores(self.label, self.p).items()
        }
        leaving = (self.p >= self.exits["high"].threshold) | (self.p <= self.exits["low"].threshold)
        scores["exit_share"] = round(float(leaving.mean()), 6)
        for name, found in self.exits.items():
            scores[f"exit_{name}"] = {
                "threshold": found.threshold,
                "certified": int(found.certified),
                "n": found.n,
                "errors": found.errors,
                "bound": round(found.bound, 6),
                "place_bound": round(found.place_bound, 6),
            }
        logit, label, _ = flat_logits(self.head, learned)
        scores["train_mcc"] = round(classification_scores(label, self.calibration(logit))["mcc"], 6)
        return scores

    def save(self, folder: Path, params: TrainParams, features: dict[str, Any]) -> None:
        """Write head.safetensors and head.json.

        Args:
            folder: takes their place as a whole.
            params: section `train`.
            features: what the features say of themselves: see `tasks.data.feature_store`.
        """
        from tasks.classifier.head import save_head

        exits = {name: found.as_dict() for name, found in self.exits.items()}
        band = {"high": params.exit_high, "low": params.exit_low}
        document = {
            **self.head.shape.as_document(),
            **{name: features[name] for name in ("pooling", "layers", "size")},
            "calibration": {"a": self.calibration.a, "b": self.calibration.b, "scaling": params.scaling},
            "exits": {name: found.threshold for name, found in self.exits.items()},
            "tta_band": band if params.tta else None,
            "exit_fit": exits,
            "starting_point": band,
            "risk": params.risk,
            "risk_confidence": params.risk_confidence,
        }
        with new_folder(folder) as partial:
            save_head(self.head, partial)
            write_json(partial / HEAD_DOCUMENT, document)


def flat_logits(head: Head, split: SplitFeatures) -> tuple[Floats, NDArray[np.int64], NDArray[np.str_]]:
    """Logits, labels and places of all views of a split, one after the other, (images * views,) each."""
    views = split.x.shape[1]
    return head.logits(split.x).ravel(), np.repeat(split.label, views), np.repeat(np.asarray(split.place), views)
