"""The exits of stage 1: probabilities beyond which a picture leaves the cascade, with a bound on wrong answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade.evaluate.scores import clopper_pearson_upper

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exit:
    """One way out of stage 1, as fitted.

    Attributes:
        threshold: leave at or beyond it.
        certified: whether the bound on the share of wrong answers there is within the stated risk.
        bound: Clopper-Pearson upper bound of that share, views counted as independent.
        errors, n: wrong and all views that leave.
        place_bound: the same bound with each place counted once, wrong if any of its views is: views of one place are
            alike, so the truth lies between the two.
    """

    threshold: float
    certified: bool
    bound: float
    errors: int
    n: int
    place_bound: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def fit_exit(
    p: Floats, label: ArrayLike, places: ArrayLike, *, start: float, step: float, risk: float, confidence: float
) -> Exit:
    """Find the exit nearest to 0.5 whose share of wrong answers is bounded by `risk`.

    The search begins at `start`. Where that is certified it walks towards 0.5 for as long as it stays so (fixed
    sequence testing, Angelopoulos et al. 2021: many tests need no correction); where not, it walks outwards to the
    first that is, which is a choice among many and so a little hopeful. Where none is, `start` stays and `certified`
    says no.

    Args:
        p: probabilities, (n,).
        label: 0 or 1, (n,).
        places: names, (n,).
        start: above 0.5 for the roadwork exit, below for the clear one.
        step: of the search.
        risk: share of wrong answers allowed among those that leave.
        confidence: of the bound.
    """
    sure = start > 0.5
    scores = p if sure else 1 - p
    wrong = np.asarray(label) != int(sure)
    begin = start if sure else 1 - start

    def measure(threshold: float) -> Exit:
        leaving = scores >= threshold
        bound, place_bound = _bounds(wrong[leaving], np.asarray(places)[leaving], confidence)
        return Exit(
            threshold=round(threshold if sure else 1 - threshold, 6),
            certified=bound <= risk,
            bound=bound,
            errors=int(wrong[leaving].sum()),
            n=int(leaving.sum()),
            place_bound=place_bound,
        )

    first = measure(begin)
    if not first.certified:
        outward = (measure(float(t)) for t in np.arange(begin + step, 1, step))
        return next((candidate for candidate in outward if candidate.certified), first)
    for threshold in np.arange(begin - step, 0.5 - step / 2, -step):
        candidate = measure(float(threshold))
        if not candidate.certified:
            break
        first = candidate
    return first


def _bounds(wrong: NDArray[np.bool_], places: NDArray[Any], confidence: float) -> tuple[float, float]:
    """Bounds of the share of wrong views, (n,), and of places, (n,), with a wrong view among them."""
    failed, everywhere = len(set(places[wrong].tolist())), len(set(places.tolist()))
    by_view = clopper_pearson_upper(int(wrong.sum()), len(wrong), confidence)
    return by_view, clopper_pearson_upper(failed, everywhere, confidence)
