"""Raw against averaged weights: which are better, and whether chance could say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.training.raw_and_averaged import compare_weights, spread_rows

LABEL = np.arange(200) % 2
SIGN = 2.0 * LABEL - 1
NOISE = np.random.default_rng(0).normal(size=200)


@pytest.mark.parametrize(
    ("raw", "averaged", "sentence"),
    [
        # an average of too few updates is the head before its training: next to random
        (SIGN * 3 + NOISE, NOISE * 0.05, "are worse: log loss 0.69"),
        (SIGN * 2 + 2 * NOISE, SIGN * 3 + NOISE, "are better"),
        (SIGN * 3 + NOISE, SIGN * 3 + NOISE, "chance explains"),
        # a little noise upon both
        (SIGN * 3 + NOISE, SIGN * 3 + NOISE + 0.01 * NOISE[::-1], "chance explains"),
    ],
)
def test_the_sentence(raw: NDArray[Any], averaged: NDArray[Any], sentence: str) -> None:
    found = compare_weights(LABEL, raw, averaged, prior=0.5, setting="training.ema_decay")
    assert sentence in found["sentence"]
    assert ("training.ema_decay" in found["sentence"]) == ("worse" in sentence)
    assert found["views"] == 200


def test_the_figures_are_for_the_prior() -> None:
    """One of nine clear views is answered wrong, and so is the one roadwork view: half of each label's weight."""
    label, logit = np.array([0] * 9 + [1]), np.array([9.0] + [-9.0] * 9)
    found = compare_weights(label, logit, logit, prior=0.5, setting="")["raw"]
    assert found["accuracy"] == pytest.approx((8 / 9 + 0) / 2, abs=1e-6)
    # 9 nats a wrong answer, an almost sure answer costs nothing
    assert found["log_loss"] == pytest.approx((9 / 9 + 9) / 2, abs=0.01)


@pytest.mark.parametrize(
    ("label", "count", "expected"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], 4, [0, 3, 4, 7]),  # as many of each label, the first and the last
        ([0, 1], 8, [0, 1]),  # fewer than wanted
        ([0] * 5, 3, [0, 2, 4]),  # one label
        ([0, 0, 0, 1], 1, [0, 3]),  # one of each at least
    ],
)
def test_pictures_are_spread(label: list[int], count: int, expected: list[int]) -> None:
    assert spread_rows(label, count) == expected
