"""Scaling, cut and exits for a prior do not depend on how often a label is in the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.prior import prior_weights
from cascade.evaluate.scores import classification_scores, clopper_pearson_upper
from cascade.probability import sigmoid
from tasks.classifier.calibration import Calibration, _most_likely, best_cut, fit_calibration, fit_scaling, stable_cut
from tasks.classifier.exits import Exit, fit_exit
from tests.unit.tasks.classifier.test_calibration import drawn

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
SEEDS, LABELS, TIMES, PRIORS = st.integers(0, 10_000), st.integers(0, 1), st.integers(2, 5), st.floats(0.2, 0.8)


def repeated(seed: int, label: int, times: int, count: int = 400) -> Rows:
    """Logits, labels and places; the rows of one label so many times, copies where the first lies."""
    logit, truth = drawn(count, seed=seed)
    rows = np.repeat(np.arange(count), np.where(truth == label, times, 1))
    return logit[rows], truth[rows], rows // 8


@settings(max_examples=30, deadline=None)
@given(SEEDS, LABELS, TIMES, PRIORS)
def test_the_cut_is_the_same(seed: int, label: int, times: int, prior: float) -> None:
    (once, truth, places), (often, truths, more) = repeated(seed, label, 1), repeated(seed, label, times)
    assert best_cut(often, truths, prior=prior) == pytest.approx(best_cut(once, truth, prior=prior), abs=1e-9)
    settings = {"resamples": 20, "seed": 3, "prior": prior}
    assert stable_cut(often, truths, more, **settings) == pytest.approx(stable_cut(once, truth, places, **settings))


@settings(max_examples=30, deadline=None)
@given(SEEDS, LABELS, TIMES, PRIORS)
def test_the_likelihood_is_the_same(seed: int, label: int, times: int, prior: float) -> None:
    def weights(rows: Rows) -> np.ndarray:
        logit, truth, _ = rows
        design = np.stack([logit, np.ones_like(logit)], axis=1)
        return _most_likely(design, 0.02 + 0.96 * truth, prior_weights(truth, prior))

    assert weights(repeated(seed, label, times)) == pytest.approx(weights(repeated(seed, label, 1)), abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS, LABELS, TIMES, st.sampled_from(["platt", "temperature"]))
def test_the_scaling_is_the_same_but_for_platts_targets(seed: int, label: int, times: int, kind: str) -> None:
    """With the targets of the repeated rows, which count them, the fit to the single ones is the repeated rows' own."""
    (logit, truth, _), (often, truths, _) = repeated(seed, label, 1), repeated(seed, label, times)
    positive, negative = int((truths == 1).sum()), int((truths == 0).sum())
    target = np.where(truth == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    design = np.stack([logit, np.ones_like(logit)], axis=1)[:, : 2 if kind == "platt" else 1]
    slope, *offset = _most_likely(design, target, prior_weights(truth, 0.5))
    found = fit_scaling(often, truths, kind, prior=0.5)  # type: ignore[arg-type]
    assert (found.a, found.b) == pytest.approx((slope, offset[0] if offset else 0.0), abs=1e-5)


@pytest.mark.parametrize("kind", ["platt", "temperature"])
def test_four_fifths_roadwork_are_answered_as_one_to_one(kind: str) -> None:
    """Both fits are for one to one, so that they agree; without weights the larger set is pulled to roadwork."""
    even, skewed = repeated(5, 1, 1, 3000), repeated(5, 1, 8, 3000)
    assert np.mean(skewed[1]) > 0.8
    found = [
        fit_calibration(*rows, kind, resamples=20, prior=prior)  # type: ignore[arg-type]
        for rows, prior in ((even, 0.5), (skewed, 0.5), (skewed, None))
    ]
    one, two, unweighted = (calibration(even[0]) for calibration in found)
    assert np.abs(one - two).max() < 0.005
    assert np.abs(one - unweighted).max() > 0.05


def exits(rows: Rows, start: float, risk: float, prior: float | None) -> Exit:
    logit, label, places = rows
    p = sigmoid(2 * logit - 1)
    return fit_exit(p, label, places, start=start, step=0.005, risk=risk, confidence=0.95, prior=prior)


@settings(max_examples=30, deadline=None)
@given(SEEDS, LABELS, TIMES, PRIORS, st.sampled_from([0.88, 0.12]))
def test_shares_of_wrong_answers_at_an_exit_are_the_same(
    seed: int, label: int, times: int, prior: float, start: float
) -> None:
    # nothing is within this risk, so that all stay at the start
    once, often = (exits(repeated(seed, label, count), start, 1e-6, prior) for count in (1, times))
    assert (often.threshold, once.threshold) == (start, start)
    assert often.risk == pytest.approx(once.risk, abs=1e-9)
    assert often.place_bound == pytest.approx(once.place_bound, abs=1e-9)
    # copies count as evidence: the bound comes nearer to the share, never below it, and never goes away from it
    assert often.risk - 1e-9 <= often.bound <= once.bound * 1.002


@settings(max_examples=30, deadline=None)
@given(SEEDS, TIMES, st.sampled_from([0.88, 0.12]))
def test_more_of_the_label_that_is_right_there_moves_the_bound_by_little(seed: int, times: int, start: float) -> None:
    """Data that is mostly roadwork: its surplus says nothing of how often clear streets are taken for it."""
    right = int(start > 0.5)
    once, often = (exits(repeated(seed, right, count, 3000), start, 1e-6, 0.5) for count in (1, times))
    # what is left is the difference of a binomial and its limit for rare errors
    assert often.bound == pytest.approx(once.bound, rel=0.04)


@pytest.mark.parametrize("start", [0.88, 0.12])
def test_without_a_prior_the_bound_is_clopper_and_pearsons(start: float) -> None:
    found = exits(repeated(1, 1, 4), start, 1e-6, None)
    assert found.bound == clopper_pearson_upper(found.errors, found.n, 0.95)
    assert found.risk == found.errors / found.n
    # at the share that the data has, to rounding
    share = float(np.mean(repeated(1, 1, 4)[1]))
    same = exits(repeated(1, 1, 4), start, 1e-6, share)
    assert replace(same, place_bound=0) == replace(
        found, place_bound=0, bound=pytest.approx(found.bound), risk=pytest.approx(found.risk)
    )


def test_an_exit_that_only_rare_clear_streets_certify_is_not_certified_at_one_to_one() -> None:
    # 1 of 500 that leave is wrong; only 12 of the rows are clear, so that one in twelve clear streets would leave
    p = np.r_[np.full(499, 0.95), np.full(1, 0.95), np.full(11, 0.3)]
    label, places = np.r_[np.ones(499), np.zeros(12)], np.arange(511)
    search = {"start": 0.88, "step": 0.005, "risk": 0.02, "confidence": 0.95}
    own = fit_exit(p, label, places, **search, prior=None)
    even = fit_exit(p, label, places, **search, prior=0.5)
    assert (own.certified, even.certified) == (True, False)
    assert even.risk == pytest.approx((1 / 12) / (1 / 12 + 1), abs=1e-9)
    assert even.bound > even.risk


@pytest.mark.parametrize("label", [0, 1])
def test_a_set_of_one_label_is_fitted_as_it_is(label: int) -> None:
    logit, labels, places = np.linspace(-3, 3, 60), np.full(60, label), np.arange(60)
    found = [fit_calibration(logit, labels, places, "platt", resamples=5, prior=prior) for prior in (0.5, None)]
    assert found[0] == found[1]
    assert isinstance(found[0], Calibration)
    p = sigmoid(logit)
    assert classification_scores(labels, p, prior=0.5) == classification_scores(labels, p, prior=None)
    assert fit_exit(p, labels, places, start=0.88, step=0.005, risk=0.02, confidence=0.95, prior=0.5) == fit_exit(
        p, labels, places, start=0.88, step=0.005, risk=0.02, confidence=0.95, prior=None
    )
