"""Scaling, cut and exits of a trained head: on the calibration split, and on photographs whose logits were kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.classifier.calibration import Calibration, fit_calibration
from tasks.classifier.exits import Exit, fit_exit
from tasks.classifier.trained import TrainedClassifier, flat_logits
from tasks.config.learn import TrainParams
from tasks.data.feature_store import TTA_SPLIT, SplitFeatures
from tasks.data.schema import DataError
from tasks.training.balance import Balance

if TYPE_CHECKING:
    from cascade.preprocess.tta import TtaView
    from tasks.classifier.head import Head

Floats = NDArray[np.float64]
PHOTOGRAPHS = "photographs"  # the group of kept logits in a balance of sources


@dataclass(frozen=True)
class CalibrationLogits:
    """What a head answers on views that scaling, cut and exits are fitted on.

    Attributes:
        logit: of the views as they came, (n,).
        augmented: of their augmented views, (n, k) in the order of `kinds`; k is 0 where stage 1 serves without them.
        label: 0 or 1, (n,).
        place: one a view.
        source: one a view.
        kinds: of augmented views.
    """

    logit: Floats
    augmented: Floats
    label: NDArray[np.int64]
    place: list[str]
    source: list[str]
    kinds: tuple[TtaView, ...] = ()

    @classmethod
    def of_features(cls, head: Head, splits: dict[str, SplitFeatures], params: TrainParams) -> CalibrationLogits:
        """Ask a head about the calibration split, with the augmented views where section `train` asks for them."""
        split = splits["calibration"]
        logit, label, places = flat_logits(head, split)
        kinds = kinds_of(splits[TTA_SPLIT]) if params.tta_band else ()
        augmented = head.logits(splits[TTA_SPLIT].x).reshape(-1, len(kinds)) if kinds else np.zeros((len(logit), 0))
        source = np.repeat(split.source or [""] * len(split.label), split.x.shape[1])
        return cls(logit, augmented, label, places.tolist(), source.tolist(), kinds)

    def joined(self, other: CalibrationLogits) -> CalibrationLogits:
        """These views, then those of the other, with the augmented views that these have: see `only`."""
        other = other.only(self.kinds)
        return CalibrationLogits(
            np.concatenate([self.logit, other.logit]),
            np.concatenate([self.augmented, other.augmented]),
            np.concatenate([self.label, other.label]),
            [*self.place, *other.place],
            [*self.source, *other.source],
            self.kinds,
        )

    def only(self, kinds: tuple[TtaView, ...]) -> CalibrationLogits:
        """The same with augmented views of these kinds.

        Raises:
            DataError: there are no logits of one of them.
        """
        if missing := [kind for kind in kinds if kind not in self.kinds]:
            raise DataError(
                f"the kept logits of photographs have no {missing[0]} views, which embed.tta_views asks for; "
                "`python -m tasks.train --keep-logits` writes them, or set train.tta_band to null"
            )
        return replace(self, augmented=self.augmented[:, [self.kinds.index(kind) for kind in kinds]], kinds=kinds)

    def served(self, calibration: Calibration, params: TrainParams) -> Floats:
        """The logits that stage 1 scales, (n,)."""
        band = params.tta_band
        return mean_with_tta(self.logit, self.augmented, calibration, band) if band and self.kinds else self.logit


def calibrate(
    head: Head,
    splits: dict[str, SplitFeatures],
    params: TrainParams,
    balance: Balance,
    kept: CalibrationLogits | None = None,
) -> TrainedClassifier:
    """Fit scaling, cut and exits of a head on the calibration split, for the prior.

    Args:
        head: in evaluation mode.
        splits: see `tasks.classifier.train.read_features`.
        params: section `train`.
        balance: how much each source counts; its prior is what all is fitted for.
        kept: of photographs, which are fitted on beside the calibration split.
    """
    own = CalibrationLogits.of_features(head, splits, params)
    rows, weight = own if kept is None else own.joined(kept), None
    if balance.weights or kept is not None:
        weight = replace(balance, weights={**balance.weights, PHOTOGRAPHS: 1.0}).of(rows.label, rows.source)
    calibration = _fit(rows, params, balance.prior, weight)
    p = calibration(rows.served(calibration, params))
    exits = _exits(p, rows, params, balance.prior, weight)
    return TrainedClassifier(head, calibration, exits, own.label, p[: len(own.label)], balance.prior, own.kinds)


def _fit(rows: CalibrationLogits, params: TrainParams, prior: float | None, weight: ArrayLike | None) -> Calibration:
    """Scale the logits as they are served: which views are augmented depends on the scaling, so that it comes twice."""
    fit = partial(
        fit_calibration,
        kind=params.scaling,
        resamples=params.cut_resamples,
        seed=params.seed,
        prior=prior,
        weight=weight,
    )
    calibration = fit(rows.logit, rows.label, rows.place)
    return fit(rows.served(calibration, params), rows.label, rows.place) if params.tta_band else calibration


def _exits(
    p: Floats, rows: CalibrationLogits, params: TrainParams, prior: float | None, weight: ArrayLike | None
) -> dict[str, Exit]:
    search: dict[str, Any] = {
        "step": params.exit_step,
        "risk": params.risk,
        "confidence": params.risk_confidence,
        "prior": prior,
        "weight": weight,
    }
    starts = {"high": params.exit_high, "low": params.exit_low}
    return {name: fit_exit(p, rows.label, rows.place, start=start, **search) for name, start in starts.items()}


def kinds_of(split: SplitFeatures) -> tuple[TtaView, ...]:
    """The augmented views that a split holds of each view, in their order."""
    kinds = dict.fromkeys(name.partition("+")[2] for name in split.views)
    return tuple(cast("TtaView", kind) for kind in kinds)


def mean_with_tta(logit: Floats, augmented: Floats, calibration: Calibration, band: tuple[float, float]) -> Floats:
    """Average logits as stage 1 does when it serves: over the augmented views too, inside the band.

    Args:
        logit: of the views as they came, (n,).
        augmented: of their augmented views, (n, k).
        calibration: says which lie in the band.
        band: of probabilities, both bounds exclusive.

    Returns:
        (n,).
    """
    p = calibration(logit)
    within = (p > band[0]) & (p < band[1])
    return np.where(within, (logit + augmented.sum(axis=1)) / (1 + augmented.shape[1]), logit)
