"""The exits of stage 1: probabilities beyond which a picture leaves the cascade, with a bound on wrong answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.prior import odds_at, prior_weights
from cascade.evaluate.scores import clopper_pearson_upper

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exit:
    """One way out of stage 1, as fitted.

    Attributes:
        threshold: leave at or beyond it.
        certified: whether the bound on the share of wrong answers there is within the stated risk.
        risk: that share at the prior, as found.
        bound: upper bound of it at the prior, views counted as independent.
        errors, n: wrong and all views that leave, counted whatever they weigh.
        place_bound: the same bound with each place counted once, wrong if any of its views is: views of one place are
            alike, so the truth lies between the two.
    """

    threshold: float
    certified: bool
    risk: float
    bound: float
    errors: int
    n: int
    place_bound: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def fit_exit(
    p: Floats,
    label: ArrayLike,
    places: ArrayLike,
    *,
    start: float,
    step: float,
    risk: float,
    confidence: float,
    prior: float | None,
    weight: ArrayLike | None = None,
) -> Exit:
    """Find the exit nearest to 0.5 whose share of wrong answers is bounded by `risk`.

    The search begins at `start`. Where that is certified it walks towards 0.5 for as long as it stays so (fixed
    sequence testing, Angelopoulos et al. 2021: many tests need no correction); where not, it walks outwards to the
    first that is, which is a choice among many and so a little hopeful. Where none is, `start` stays and `certified`
    says no.

    The wrong views at an exit are all of one label, so that a prior changes the odds of a wrong answer there by one
    factor, the ratio of the labels' weights (label shift, Saerens et al. 2002). The bound is Clopper's and Pearson's on
    the share in the data, its odds times this factor: at the data's own share it is theirs. More views of a label are
    more evidence of how that label is answered, and so tighten the bound, but move no weighted share.

    Args:
        p: probabilities, (n,).
        label: 0 or 1, (n,).
        places: names, (n,).
        start: above 0.5 for the roadwork exit, below for the clear one.
        step: of the search.
        risk: share of wrong answers allowed among those that leave.
        confidence: of the bound.
        prior: share of roadwork that risk and bound are for; None for the share in the data.
        weight: of each row within its label in the risk that is reported, (n,); the bound counts rows. None: all alike.
    """
    side = _Side(np.asarray(p), np.asarray(label), np.asarray(places), start > 0.5, confidence, prior, weight)
    begin = start if side.sure else 1 - start
    first = side.measure(begin, risk)
    if not first.certified:
        outward = (side.measure(float(t), risk) for t in np.arange(begin + step, 1, step))
        return next((candidate for candidate in outward if candidate.certified), first)
    for threshold in np.arange(begin - step, 0.5 - step / 2, -step):
        candidate = side.measure(float(threshold), risk)
        if not candidate.certified:
            break
        first = candidate
    return first


class _Side:
    """The views that may leave as roadwork (`sure`), or those that may leave as clear; arguments as of `fit_exit`."""

    def __init__(
        self,
        p: Floats,
        label: NDArray[Any],
        places: NDArray[Any],
        sure: bool,
        confidence: float,
        prior: float | None,
        weight: ArrayLike | None,
    ) -> None:
        self.sure, self._places, self._confidence = sure, places, confidence
        self._scores = p if sure else 1 - p
        self._wrong = label != int(sure)
        self._counted = prior_weights(label, prior, weight)
        by_place = _labels_of_places(label, places)
        self._odds = odds_at(label, prior, int(not sure)), odds_at(by_place, prior, int(not sure))

    def measure(self, threshold: float, risk: float) -> Exit:
        """The exit of those whose probability of this side's label is at least `threshold`."""
        leaving, counted = self._scores >= threshold, self._counted
        bound, place_bound = _bounds(self._wrong[leaving], self._places[leaving], self._confidence, self._odds)
        return Exit(
            threshold=round(threshold if self.sure else 1 - threshold, 6),
            certified=bound <= risk,
            risk=float(counted[leaving & self._wrong].sum() / counted[leaving].sum()) if leaving.any() else 0.0,
            bound=bound,
            errors=int(self._wrong[leaving].sum()),
            n=int(leaving.sum()),
            place_bound=place_bound,
        )


def _bounds(
    wrong: NDArray[np.bool_], places: NDArray[Any], confidence: float, odds: tuple[float, float]
) -> tuple[float, float]:
    """Bounds of the share of wrong views, (n,), and of places, (n,), with a wrong view among them.

    `odds` has the factor of the prior for views and for places.
    """
    failed, everywhere = len(set(places[wrong].tolist())), len(set(places.tolist()))
    by_view = clopper_pearson_upper(int(wrong.sum()), len(wrong), confidence, odds[0])
    return by_view, clopper_pearson_upper(failed, everywhere, confidence, odds[1])


def _labels_of_places(label: NDArray[Any], places: NDArray[Any]) -> NDArray[np.int64]:
    """The labels seen at each place, once each: a place with roadwork and clear views counts for both."""
    return np.array([one for _, one in sorted(set(zip(places.tolist(), label.tolist(), strict=True)))], dtype=np.int64)
