"""Scaling, cut and exits: what they promise, on data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.scores import clopper_pearson_upper, mcc
from cascade.probability import sigmoid
from tasks.classifier.calibration import (
    Calibration,
    Exit,
    best_cut,
    fit_calibration,
    fit_exit,
    fit_scaling,
    stable_cut,
)

RISK, CONFIDENCE = 0.02, 0.95


def drawn(n: int = 4000, slope: float = 2.0, offset: float = -1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are roadwork with probability sigmoid(slope * logit + offset)."""
    random = np.random.default_rng(seed)
    logit = random.normal(0, 2, n)
    return logit, (random.random(n) < sigmoid(slope * logit + offset)).astype(int)


def exits(p: np.ndarray, label: np.ndarray, start: float) -> Exit:
    places = np.array([f"p{i // 4}" for i in range(len(p))])
    return fit_exit(p, label, places, start=start, risk=RISK, confidence=CONFIDENCE)


def test_platt_recovers_the_truth() -> None:
    found = fit_scaling(*drawn(40_000), "platt")
    assert (found.a, found.b) == (pytest.approx(2.0, abs=0.1), pytest.approx(-1.0, abs=0.1))


def test_temperature_keeps_the_middle() -> None:
    found = fit_scaling(*drawn(40_000, offset=0.0), "temperature")
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
    found = fit_calibration(logit, label, np.arange(len(logit)), kind)  # type: ignore[arg-type]
    assert np.isfinite([found.a, found.b]).all()
    assert found.a > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 80))
def test_cut_beats_every_other(seed: int, n: int) -> None:
    logit, label = drawn(n, seed=seed)
    cut, score = best_cut(logit, label)
    assert score == pytest.approx(mcc(label, logit > cut))
    assert all(score >= mcc(label, logit > other) - 1e-9 for other in logit)


def test_cut_lies_in_the_middle_of_the_gap() -> None:
    assert best_cut(np.array([0.0, 1.0, 5.0, 6.0]), [0, 0, 1, 1]) == (3.0, 1.0)


def test_calibrated_half_is_as_good_as_the_best_cut() -> None:
    # few roadworks: the best cut is not where the probability is a half
    logit, label = drawn(3000, offset=-4.0)
    calibration = fit_calibration(logit, label, np.arange(3000), "platt")
    assert mcc(label, calibration(logit) > 0.5) > best_cut(logit, label)[1] - 0.02


def test_stable_cut_carries_over_better_than_the_highest_spike() -> None:
    unseen, truth = drawn(20_000, seed=99)
    gains = []
    for seed in range(30):
        logit, label = drawn(80, seed=seed)
        stable = stable_cut(logit, label, np.arange(80) // 4, seed=1)
        gains.append(mcc(truth, unseen > stable) - mcc(truth, unseen > best_cut(logit, label)[0]))
    assert np.mean(gains) > 0


def test_stable_cut_is_repeatable_and_survives_a_single_place() -> None:
    logit, label = drawn(50)
    assert stable_cut(logit, label, np.zeros(50), seed=3) == best_cut(logit, label)[0]
    places = np.arange(50) // 5
    assert stable_cut(logit, label, places, seed=3) == stable_cut(logit, label, places, seed=3)


def test_extreme_logits_do_not_overflow() -> None:
    assert Calibration(10.0, 0.0)([-1e6, 1e6]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("start", [0.88, 0.12])
def test_too_few_views_certify_nothing(start: float) -> None:
    # 40 right answers leave room for 7 % wrong ones
    found = exits(np.full(40, start), np.full(40, int(start > 0.5)), start)
    assert not found.certified
    assert found.threshold == start
    assert (found.errors, found.n) == (0, 40)
    assert found.bound == pytest.approx(clopper_pearson_upper(0, 40, CONFIDENCE))


@pytest.mark.parametrize("start", [0.88, 0.12])
def test_sure_classifier_leaves_early(start: float) -> None:
    p = np.linspace(0, 1, 2001)
    found = exits(p, (p > 0.5).astype(int), start)
    assert found.certified
    assert found.threshold == pytest.approx(0.5)


@pytest.mark.parametrize(("start", "label"), [(0.88, 0), (0.12, 1)])
def test_errors_push_the_exit_outwards(start: float, label: int) -> None:
    # wrong answers lie between the starting point and 0.93, on either side
    p = np.r_[np.linspace(0.95, 1, 400), np.full(40, 0.92)]
    truth = np.r_[np.ones(400, dtype=int), np.zeros(40, dtype=int)]
    found = exits(p if start > 0.5 else 1 - p, truth if start > 0.5 else 1 - truth, start)
    assert found.certified
    assert found.errors == 0
    assert abs(found.threshold - 0.5) == pytest.approx(0.425, abs=0.006)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.88, 0.12]))
def test_certified_means_bounded(seed: int, start: float) -> None:
    logit, label = drawn(1500, slope=3.0, seed=seed)
    p = sigmoid(3.0 * logit - 1.0)
    found = exits(p, label, start)
    leaving = p >= found.threshold - 1e-9 if start > 0.5 else p <= found.threshold + 1e-9
    wrong = int(np.sum(label[leaving] != int(start > 0.5)))
    if found.certified:
        assert clopper_pearson_upper(wrong, int(leaving.sum()), CONFIDENCE) <= RISK + 1e-9
    else:
        assert found.threshold == start


def test_a_place_counts_once() -> None:
    places = np.repeat(["a", "b"], 200)
    found = fit_exit(np.full(400, 0.9), np.ones(400), places, start=0.88, risk=RISK, confidence=CONFIDENCE)
    assert found.certified
    assert found.place_bound == pytest.approx(clopper_pearson_upper(0, 2, CONFIDENCE))
