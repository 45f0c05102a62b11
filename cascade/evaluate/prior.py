"""The prior: the share of roadwork that figures and fits are stated for, whatever the share in the data.

Validators draw labels one to one (natix/validator/forward.py). Each row gets the weight that gives its label the
prior's share of a set: label shift with known shares (Saerens et al. 2002, Neural Computation 14). The weights belong
to a set of rows, so that each slice, level and bootstrap resample has its own. Arrays have the shape (n,); a label is
1 for roadwork and 0 for clear.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
VALIDATORS = 0.5  # the share of roadwork among the challenges of the subnet


def prior_weights(label: ArrayLike, prior: float | None, given: ArrayLike | None = None) -> Floats:
    """Weights that make roadwork the share `prior` of the rows: prior/share for label 1, (1-prior)/(1-share) for 0.

    Args:
        label: (n,).
        prior: None keeps the data's own share.
        given: weights above 0 that rows have already, such as those of a balance of sources, (n,); what comes back is
            in proportion to them within a label. None: all alike.

    Returns:
        (n,), their sum is n. The given ones, scaled, without a prior and where only one label is there: no weights
        could make two.
    """
    truth = np.asarray(label) == 1
    own = np.ones(len(truth)) if given is None else np.asarray(given, dtype=np.float64)
    if not len(truth):
        return own
    own = own / own.mean()
    share = float(np.average(truth, weights=own))
    if prior is None or share in (0.0, 1.0):
        return own  # type: ignore[no-any-return]
    return own * np.where(truth, prior / share, (1 - prior) / (1 - share))  # type: ignore[no-any-return]


def share_at(label: ArrayLike, prior: float | None) -> float:
    """Share of roadwork that weighted figures of a set are for: the prior, or the data's own where that counts."""
    truth = np.asarray(label) == 1
    return float(np.average(truth, weights=prior_weights(truth, prior)))


def odds_at(label: ArrayLike, prior: float | None, wrong: int) -> float:
    """Factor on the odds of a label, from the data's share to the prior's: the ratio of the two labels' weights.

    Args:
        label: of a whole set, (n,).
        prior: see `prior_weights`.
        wrong: the label.
    """
    truth, weight = np.asarray(label) == 1, prior_weights(label, prior)
    if truth.all() or not truth.any():
        return 1.0
    roadwork, clear = float(weight[truth][0]), float(weight[~truth][0])
    return roadwork / clear if wrong == 1 else clear / roadwork


def shift_odds(share: float, factor: float) -> float:
    """The share whose odds are `factor` times those of `share`; a factor of 1 gives `share` itself.

    It rises with `share`, so that the shift of an upper bound is an upper bound.
    """
    return factor * share / (factor * share + (1 - share))


def describe_prior(prior: float | None) -> str:
    """Name the prior in titles and tables."""
    return "the data's own prior" if prior is None else f"prior {prior:g}"


def read_prior(text: str) -> float | None:
    """Read a prior from the command line: a number between 0 and 1, or `own`.

    Raises:
        ValueError: it is neither.
    """
    if text == "own":
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 1:
        raise ValueError(f"{text}: expected a share of roadwork between 0 and 1, such as 0.5, or `own` for the data's")
    return value
