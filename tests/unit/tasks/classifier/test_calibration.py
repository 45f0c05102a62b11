"""Scaling and cut: what they promise, on data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.scores import mcc
from cascade.probability import sigmoid
from tasks.classifier.calibration import (
    Calibration,
    best_cut,
    fit_calibration,
    fit_scaling,
    stable_cut,
)

RESAMPLES = 200


def drawn(n: int = 4000, slope: float = 2.0, offset: float = -1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are roadwork with probability sigmoid(slope * logit + offset)."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    return logit, (random.random(n) < sigmoid(slope * logit + offset)).astype(int)


def test_platt_recovers_the_truth() -> None:
    found = fit_scaling(*drawn(40_000), "platt", prior=None)
    assert (found.a, found.b) == (pytest.approx(2.0, abs=0.1), pytest.approx(-1.0, abs=0.1))


def newton(logit: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Slope and offset by plain Newton steps on Platt's targets, for logits that are harmless."""
    positive, negative = int(label.sum()), int((1 - label).sum())
    target = np.where(label == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design, weights = np.stack([logit, np.ones_like(logit)], axis=1), np.zeros(2)
    for _ in range(50):
        p = sigmoid(design @ weights)
        curvature = (design * (p * (1 - p))[:, None]).T @ design
        weights = weights - np.linalg.solve(curvature, design.T @ (p - target))
    return weights


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 2000), st.floats(0.3, 1.2), st.floats(-1.5, 1.5))
def test_platt_is_the_optimum_of_newtons_method(seed: int, n: int, slope: float, offset: float) -> None:
    logit, label = drawn(n, slope, offset, seed)
    found = fit_scaling(logit, label, "platt", prior=None)
    # slopes are held above zero
    if (wanted := newton(logit, label))[0] > 1e-3:
        assert np.abs([found.a, found.b] - wanted).max() < 1e-9


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="the scaling of 4 logits does not converge"):
        fit_scaling(np.array([0.0, 1.0, np.nan, 2.0]), [0, 1, 0, 1], "platt", prior=None)


def test_temperature_keeps_the_middle() -> None:
    found = fit_scaling(*drawn(40_000, offset=0.0), "temperature", prior=None)
    assert (found.a, found.b) == (pytest.approx(2.0, abs=0.1), 0.0)


@pytest.mark.parametrize(
    ("logit", "label"),
    [
        # no overlap: the likelihood alone would want an infinite slope
        (np.r_[-np.ones(20), np.ones(20)], np.r_[np.zeros(20), np.ones(20)]),
        # very large logits
        (np.r_[-np.ones(20), np.ones(20)] * 1e4, np.r_[np.zeros(20), np.ones(20)]),
        # a head that is wrong throughout must not be turned around
        (np.r_[-np.ones(20), np.ones(20)], np.r_[np.ones(20), np.zeros(20)]),
        # nothing to learn from
        (np.zeros(40), np.r_[np.zeros(20), np.ones(20)]),
    ],
)
@pytest.mark.parametrize("kind", ["platt", "temperature"])
def test_scaling_is_finite_and_rises(logit: np.ndarray, label: np.ndarray, kind: str) -> None:
    places = np.arange(len(logit))
    found = fit_calibration(logit, label, places, kind, resamples=RESAMPLES, prior=None)  # type: ignore[arg-type]
    assert np.isfinite([found.a, found.b]).all()
    assert found.a > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 80))
def test_cut_beats_every_other(seed: int, n: int) -> None:
    logit, label = drawn(n, seed=seed)
    cut, score = best_cut(logit, label, prior=None)
    assert score == pytest.approx(mcc(label, logit > cut))
    assert all(score >= mcc(label, logit > other) - 1e-9 for other in logit)


def test_cut_lies_in_the_middle_of_the_gap() -> None:
    assert best_cut(np.array([0.0, 1.0, 5.0, 6.0]), [0, 0, 1, 1], prior=None) == (3.0, 1.0)


def test_calibrated_half_is_as_good_as_the_best_cut() -> None:
    # few roadworks: the best cut is not where the probability is a half
    logit, label = drawn(3000, offset=-4.0)
    calibration = fit_calibration(logit, label, np.arange(3000), "platt", resamples=RESAMPLES, prior=None)
    assert mcc(label, calibration(logit) > 0.5) > best_cut(logit, label, prior=None)[1] - 0.02


def test_stable_cut_carries_over_better_than_the_highest_spike() -> None:
    unseen, truth = drawn(20_000, seed=99)
    gains = []
    for seed in range(30):
        logit, label = drawn(80, seed=seed)
        stable = stable_cut(logit, label, np.arange(80) // 4, resamples=RESAMPLES, seed=1, prior=None)
        gains.append(mcc(truth, unseen > stable) - mcc(truth, unseen > best_cut(logit, label, prior=None)[0]))
    assert np.mean(gains) > 0


def test_stable_cut_is_repeatable_and_survives_a_single_place() -> None:
    logit, label = drawn(50)
    assert (
        stable_cut(logit, label, np.zeros(50), resamples=RESAMPLES, seed=3, prior=None)
        == best_cut(logit, label, prior=None)[0]
    )
    places = np.arange(50) // 5
    assert len({stable_cut(logit, label, places, resamples=RESAMPLES, seed=3, prior=None) for _ in range(2)}) == 1


def test_extreme_logits_do_not_overflow() -> None:
    assert Calibration(10.0, 0.0)([-1e6, 1e6]).tolist() == [0.0, 1.0]
