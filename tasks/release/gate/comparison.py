"""Predictions of both releases to figures: differences with intervals, McNemar's tests, slices, changed views."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cascade.probability import CUT
from tasks.config import Params
from tasks.data.schema import DataError
from tasks.release.gate.challenge import Challenge
from tasks.release.gate.report import EXPECTED, Change, Comparison, Discordance, Fault, Figure, SliceRow
from tasks.release.gate.statistics import (
    MEASURES,
    PairedTest,
    Resampled,
    detectable,
    difference,
    mcnemar,
    mcnemar_by_place,
    resample,
)
from tasks.release.gate.verdict import Endpoint, Verdict, judge
from tasks.reward.change import expected_by_place
from tasks.reward.places import Estimate, draw_places, place_counts

if TYPE_CHECKING:
    from tasks.validation.predictions import ChallengePredictions

DIGITS = 6
LEVEL = "level"


@dataclass(frozen=True)
class Compared:
    """What the predictions of two releases say of each other.

    Attributes:
        verdict: of the comparison.
        draws: differences of MCC and reward by resample, for plots: (r,) each.
        label: of each view, (n,).
        p: probabilities of the challenger and of the champion, (n,) each.
    """

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    tests: tuple[Discordance, ...]
    slices: tuple[SliceRow, ...]
    changes: tuple[Change, ...]
    draws: dict[str, NDArray[np.float64]]
    label: NDArray[np.int64]
    p: tuple[NDArray[np.float64], NDArray[np.float64]]


def compare(
    challenger: ChallengePredictions, champion: ChallengePredictions, challenge: Challenge, params: Params
) -> Compared:
    """Compare two sets of predictions for the same views.

    Raises:
        DataError: they are not for the same views.
    """
    if not np.array_equal(challenger.label, champion.label) or not np.array_equal(challenger.place, champion.place):
        raise DataError("the predictions of challenger and champion are not for the same views")
    gate, everything = params.gate, np.ones(len(challenger.p), dtype=bool)
    drawn = _draw(challenger.place, params)
    new, old = (_resampled(one, everything, drawn, params.prior) for one in (challenger, champion))
    new_right, old_right = ((one.p > CUT) == (one.label == 1) for one in (challenger, champion))
    by_view, by_place = mcnemar(new_right, old_right), mcnemar_by_place(new_right, old_right, challenger.place)
    comparisons = (
        *(_comparison(name, new, old, params) for name in MEASURES),
        _expected(challenger, champion, drawn, params),
    )
    verdict = judge(
        [_endpoint(one) for one in comparisons if one.margin is not None],
        gained=by_place.gained,
        lost=by_place.lost,
        p=by_place.p,
        confidence=gate.confidence,
    )
    return Compared(
        verdict,
        comparisons,
        (_discordance("view", by_view), _discordance("place", by_place)),
        tuple(_slices(challenger, champion, drawn, params)),
        tuple(_changes(challenger, champion, challenge)),
        {name: new.draws[name] - old.draws[name] for name in ("mcc", "reward")},
        challenger.label,
        (challenger.p, champion.p),
    )


def slice_faults(rows: tuple[SliceRow, ...], params: Params) -> Iterator[Fault]:
    """Name the slices below the floor, and those that are significantly worse than the champion's by the margin."""
    limits = params.gate.slices
    for row in (one for one in rows if one.judged):
        name = f"{row.name} {row.value}" if row.name != LEVEL else f"level {row.value}"
        if not row.challenger >= limits.min_accuracy:
            yield Fault(check="slice", text=f"{name}: accuracy {row.challenger:.4f} is below {limits.min_accuracy}")
        drop, high = row.difference.value, row.difference.high
        if drop is not None and high is not None and drop <= -limits.max_drop and high < 0:
            against = f"{row.challenger:.4f} against the champion's {row.champion:.4f}"
            yield Fault(check="slice", text=f"{name}: accuracy {against} on {row.views} views")


def _draw(place: NDArray[np.str_], params: Params) -> NDArray[np.int64]:
    return draw_places(len(np.unique(place)), resamples=params.gate.resamples, seed=params.gate.seed)


def _resampled(
    predictions: ChallengePredictions, rows: NDArray[np.bool_], drawn: NDArray[np.int64], prior: float | None
) -> Resampled:
    """Figures of the views that `rows` (n,) selects; places without any of them count nothing, so that draws fit."""
    return resample(_counts(predictions, rows), drawn, prior)


def _counts(predictions: ChallengePredictions, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    names, index = np.unique(predictions.place, return_inverse=True)
    counts = np.zeros((len(names), 4))
    counts[np.unique(index[rows])] = place_counts(predictions.label[rows], predictions.p[rows] > CUT, index[rows])
    return counts


def _expected(
    challenger: ChallengePredictions, champion: ChallengePredictions, drawn: NDArray[np.int64], params: Params
) -> Comparison:
    """The reward to expect at the subnet's own sample sizes, which no verdict depends on: what a promotion is worth."""
    everything, confidence = np.ones(len(challenger.p), dtype=bool), params.gate.confidence
    new, old = (expected_by_place(_counts(one, everything), drawn, params.prior) for one in (challenger, champion))
    change = new.above(old, confidence)
    return Comparison(
        name=EXPECTED,
        challenger=_figure(new.estimate(confidence)),
        champion=_figure(old.estimate(confidence)),
        difference=_figure(change),
        detectable=_plain(detectable(change.error, confidence, params.gate.power)),
    )


def _comparison(name: str, new: Resampled, old: Resampled, params: Params) -> Comparison:
    gate = params.gate
    change = difference(new, old, name, gate.confidence)
    return Comparison(
        name=name,
        challenger=_figure(new.estimate(name, gate.confidence)),
        champion=_figure(old.estimate(name, gate.confidence)),
        difference=_figure(change),
        margin={"mcc": gate.margin_mcc, "reward": gate.margin_reward}.get(name),
        detectable=_plain(detectable(change.error, gate.confidence, gate.power)),
    )


def _endpoint(one: Comparison) -> Endpoint:
    low, high = (math.nan if end is None else end for end in (one.difference.low, one.difference.high))
    return Endpoint(low, high, one.margin or 0.0)


def _slices(
    challenger: ChallengePredictions, champion: ChallengePredictions, drawn: NDArray[np.int64], params: Params
) -> Iterator[SliceRow]:
    selected = {
        (name, value): rows
        for name, values in ((LEVEL, challenger.level.astype(str)), *challenger.slices.items())
        for value in sorted(set(values.tolist()) - {""})
        if int((rows := values == value).sum()) >= params.validate_.min_slice
    }
    judged = [int(rows.sum()) >= params.gate.slices.min_views for rows in selected.values()]
    # Bonferroni: one of so many slices would look worse by chance
    confidence = 1 - (1 - params.gate.confidence) / max(1, sum(judged))
    for ((name, value), rows), counts in zip(selected.items(), judged, strict=True):
        new, old = (_resampled(one, rows, drawn, params.prior) for one in (challenger, champion))
        yield SliceRow(
            name=name,
            value=value,
            views=int(rows.sum()),
            challenger=round(new.value["accuracy"], DIGITS),
            champion=round(old.value["accuracy"], DIGITS),
            difference=_figure(difference(new, old, "accuracy", confidence)),
            judged=counts,
        )


def _changes(
    challenger: ChallengePredictions, champion: ChallengePredictions, challenge: Challenge
) -> Iterator[Change]:
    """The views with different answers, the largest difference of probability first."""
    turned = np.flatnonzero((challenger.p > CUT) != (champion.p > CUT))
    order = turned[np.argsort(-np.abs(challenger.p - champion.p)[turned], kind="stable")]
    for index in order.tolist():
        yield Change(
            key=challenge.locate(index)[0],
            level=int(challenger.level[index]),
            index=index,
            place=str(challenger.place[index]),
            label=int(challenger.label[index]),
            challenger=round(float(challenger.p[index]), DIGITS),
            champion=round(float(champion.p[index]), DIGITS),
        )


def _discordance(unit: str, test: PairedTest) -> Discordance:
    return Discordance(
        unit=unit,
        both=test.both,
        gained=test.gained,
        lost=test.lost,
        neither=test.neither,
        p=test.p,
        exact=test.exact,
    )


def _figure(estimate: Estimate) -> Figure:
    return Figure(value=_plain(estimate.value), low=_plain(estimate.low), high=_plain(estimate.high))


def _plain(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None
