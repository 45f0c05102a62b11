"""Exits of stage 1: what they promise, on data where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.scores import clopper_pearson_upper
from cascade.probability import sigmoid
from tasks.classifier.exits import Exit, fit_exit
from tests.unit.tasks.classifier.test_calibration import drawn

RISK, CONFIDENCE, STEP = 0.02, 0.95, 0.005


def exits(p: np.ndarray, label: np.ndarray, start: float) -> Exit:
    places = np.array([f"p{i // 4}" for i in range(len(p))])
    return fit_exit(p, label, places, start=start, step=STEP, risk=RISK, confidence=CONFIDENCE, prior=None)


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
    found = fit_exit(
        np.full(400, 0.9), np.ones(400), places, start=0.88, step=STEP, risk=RISK, confidence=CONFIDENCE, prior=None
    )
    assert found.certified
    assert found.place_bound == pytest.approx(clopper_pearson_upper(0, 2, CONFIDENCE))


def test_the_search_goes_by_steps() -> None:
    p = np.linspace(0, 1, 2001)
    places = np.arange(2001) // 4
    coarse = fit_exit(
        p, (p > 0.6).astype(int), places, start=0.88, step=0.05, risk=RISK, confidence=CONFIDENCE, prior=None
    )
    assert coarse.threshold == pytest.approx(0.63)
