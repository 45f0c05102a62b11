"""A trained head with its calibration and exits: its figures and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cascade.evaluate.prior import prior_weights, share_at
from cascade.evaluate.scores import classification_scores, constant_answer
from tasks.classifier.calibration import Calibration
from tasks.classifier.exits import Exit
from tasks.common.files import new_folder, write_json
from tasks.config.learn import TrainParams
from tasks.data.feature_store import SplitFeatures

if TYPE_CHECKING:
    from cascade.preprocess.tta import TtaView
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
        prior: share of roadwork that calibration, exits and figures are for; None for that of these views.
        tta_views: augmented views that calibration and exits were fitted with.
    """

    head: Head
    calibration: Calibration
    exits: dict[str, Exit]
    label: NDArray[np.int64]
    p: Floats
    prior: float | None
    tta_views: tuple[TtaView, ...] = ()

    def metrics(self, learned: SplitFeatures) -> dict[str, Any]:
        """Scores on the calibration split beside the constant answer's, what leaves at each exit, and `train_mcc`.

        Args:
            learned: the training split, whose MCC that is.
        """
        scores: dict[str, Any] = {**self._scores(), **self._beside()}
        leaving = (self.p >= self.exits["high"].threshold) | (self.p <= self.exits["low"].threshold)
        share = np.average(leaving, weights=prior_weights(self.label, self.prior))
        scores["exit_share"] = round(float(share), 6)
        for name, found in self.exits.items():
            scores[f"exit_{name}"] = {
                "threshold": found.threshold,
                "certified": int(found.certified),
                "n": found.n,
                "errors": found.errors,
                "risk": round(found.risk, 6),
                "bound": round(found.bound, 6),
                "place_bound": round(found.place_bound, 6),
            }
        logit, label, _ = flat_logits(self.head, learned)
        of_training = classification_scores(label, self.calibration(logit), prior=self.prior)
        scores["train_mcc"] = round(of_training["mcc"], 6)
        return scores

    def _scores(self) -> dict[str, float]:
        found = classification_scores(self.label, self.p, prior=self.prior)
        return {name: round(value, 6) for name, value in found.items()}

    def _beside(self) -> dict[str, Any]:
        """The prior, and what an answer that is always the same would reach at it."""
        return {"prior": self.prior, "constant": constant_answer(share_at(self.label, self.prior))}

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
            "tta_band": _band(params.tta_band),
            "tta_views": list(self.tta_views),
            "exit_fit": exits,
            "starting_point": band,
            "risk": params.risk,
            "risk_confidence": params.risk_confidence,
            # `export` holds the one against the other
            "calibrated": {name: self._scores()[name] for name in ("accuracy", "mcc", "reward")},
            **self._beside(),
        }
        with new_folder(folder) as partial:
            save_head(self.head, partial)
            write_json(partial / HEAD_DOCUMENT, document)


def _band(band: tuple[float, float] | None) -> dict[str, float] | None:
    """A band as head.json and a release have it."""
    return {"high": band[1], "low": band[0]} if band else None


def flat_logits(head: Head, split: SplitFeatures) -> tuple[Floats, NDArray[np.int64], NDArray[np.str_]]:
    """Logits, labels and places of all views of a split, one after the other, (images * views,) each."""
    views = split.x.shape[1]
    return head.logits(split.x).ravel(), np.repeat(split.label, views), np.repeat(np.asarray(split.place), views)
