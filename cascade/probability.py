"""The probability of roadwork: the names of the two labels, the cut between them, and the logistic function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Label = Literal["roadwork", "clear"]
Verdict = Literal["roadwork", "clear", "undecided"]
# in the order of the class numbers: 0 is clear, 1 is roadwork
LABELS: tuple[Label, Label] = ("clear", "roadwork")
# spellings in manifests and folder names
LABEL_NUMBERS = {"1": 1, "roadwork": 1, "0": 0, "clear": 0, "none": 0}
# above it is roadwork; 0.5 itself is clear, as the subnet's validators round
CUT = 0.5
# log-odds of 0 and 1 are infinite; probabilities are held this far from both
EDGE = 1e-6


def label_of(probability: float) -> Label:
    """Name the label of a probability of roadwork."""
    return LABELS[probability > CUT]


def sigmoid(logit: ArrayLike) -> NDArray[np.float64]:
    """Logistic function without overflow: logits of any shape to probabilities of the same shape, float64."""
    import numpy as np

    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(logit, dtype=np.float64))))


def log_odds(probability: float) -> float:
    """Inverse of `sigmoid` for one probability, finite at 0 and 1."""
    inside = min(max(probability, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))
