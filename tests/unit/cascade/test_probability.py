"""Labels, the cut and the logistic function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.probability import label_of, log_odds, sigmoid


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        (0.0, "clear"),
        # as the validators round
        (0.5, "clear"),
        (0.5000001, "roadwork"),
        (1.0, "roadwork"),
    ],
)
def test_labels(probability: float, label: str) -> None:
    assert label_of(probability) == label


def test_sigmoid_has_no_overflow_and_keeps_the_shape() -> None:
    p = sigmoid(np.array([[-1e4, -2, 0], [2, 1e4, 0]], dtype=np.float32))
    assert p.dtype == np.float64
    assert p == pytest.approx(np.array([[0, 0.1192, 0.5], [0.8808, 1, 0.5]]), abs=1e-4)


@given(st.floats(0, 1))
def test_log_odds_are_the_inverse_and_finite(p: float) -> None:
    assert np.isfinite(log_odds(p))
    assert float(sigmoid(log_odds(p))) == pytest.approx(p, abs=1.1e-6)
