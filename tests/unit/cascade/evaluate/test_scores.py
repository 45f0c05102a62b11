"""Scores against hand-worked tables, scikit-learn and their own invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cascade.evaluate import scores

LABELLED = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=16)), min_size=2, max_size=60)


@pytest.mark.parametrize(
    ("label", "p"),
    [
        ([], []),
        ([1, 0], [0.5]),
        ([[1, 0]], [[0.5, 0.5]]),
        # neither class, and the subnet's answer for "failed"
        ([2, 0], [0.5, 0.5]),
        ([1, 0], [0.5, -1.0]),
        ([1, 0], [0.5, float("nan")]),
    ],
)
def test_what_is_no_set_of_answers_is_refused(label: list[int], p: list[float]) -> None:
    with pytest.raises(ValueError):
        scores.classification_scores(label, p, prior=None)


@pytest.mark.parametrize(
    ("label", "prediction", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], -1.0),
        ([1, 1, 0, 0], [1, 0, 1, 0], 0.0),
        # one class only, in the labels or in the answers: undefined, so 0
        ([1, 1, 1, 1], [1, 1, 1, 0], 0.0),
        ([1, 1, 0, 0], [1, 1, 1, 1], 0.0),
        # tp 2, fp 1, fn 1, tn 1
        ([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], (2 * 1 - 1 * 1) / (3 * 3 * 2 * 2) ** 0.5),
    ],
)
def test_mcc_table(label: list[int], prediction: list[int], expected: float) -> None:
    assert scores.mcc(label, prediction) == pytest.approx(expected)


@pytest.mark.parametrize(("mcc", "acc", "expected"), [(1, 1, 1), (-1, 0.5, 0.015625), (0.8, 0.9, 0.614125), (0, 0, 0)])
def test_reward_table(mcc: float, acc: float, expected: float) -> None:
    assert scores.reward(mcc, acc) == pytest.approx(expected)


def test_half_counts_as_clear_like_the_validators_rounding() -> None:
    assert scores.classification_scores([0, 1], [0.5, 0.51], prior=None)["accuracy"] == 1


def test_auc_is_left_out_for_one_class() -> None:
    assert "auc" not in scores.classification_scores([1, 1], [0.2, 0.9], prior=None)
    with pytest.raises(ValueError, match="both classes"):
        scores.auc([0, 0], [0.1, 0.2])


@given(LABELLED)
def test_scores_equal_scikit_learn(pairs: list[tuple[int, float]]) -> None:
    from sklearn.metrics import brier_score_loss, matthews_corrcoef, roc_auc_score

    label, p = np.array(pairs).T
    assume(len(set(label)) == 2)
    ours = scores.classification_scores(label, p, prior=None)
    assert ours["auc"] == pytest.approx(roc_auc_score(label, p))
    assert ours["mcc"] == pytest.approx(matthews_corrcoef(label, p > 0.5))
    assert ours["brier"] == pytest.approx(brier_score_loss(label, p))


@given(LABELLED)
def test_mcc_changes_sign_with_the_answer_and_stays_in_range(pairs: list[tuple[int, float]]) -> None:
    label, p = np.array(pairs).T
    guess = p > 0.5
    assert scores.mcc(label, ~guess) == pytest.approx(-scores.mcc(label, guess))
    assert -1.0000001 <= scores.mcc(label, guess) <= 1.0000001
    assert 0 <= scores.ece(label, p) <= 1


@pytest.mark.parametrize(
    ("label", "p", "expected"),
    [
        ([1, 0], [1.0, 0.0], 0.0),
        ([0, 1], [1.0, 0.0], 1.0),
        # ten at 0.8 of which eight are right: calibrated
        ([1] * 8 + [0] * 2, [0.8] * 10, 0.0),
        ([1] * 5 + [0] * 5, [0.8] * 10, 0.3),
    ],
)
def test_ece_table(label: list[int], p: list[float], expected: float) -> None:
    assert scores.ece(label, p) == pytest.approx(expected)


def accuracy_of(label: scores.Floats, p: scores.Floats) -> float:
    return scores.accuracy(label, p > 0.5)


def test_interval_resamples_places_not_images() -> None:
    random = np.random.default_rng(1)
    right = random.random(20) < 0.7
    label = np.repeat(random.integers(0, 2, 20), 30)
    p = np.where(np.repeat(right, 30), label, 1 - label) * 0.8 + 0.1
    settings = {"resamples": 400, "confidence": 0.95, "seed": 3}
    low, high = scores.bootstrap_interval(accuracy_of, label, p, np.repeat(np.arange(20), 30), **settings)
    single_low, single_high = scores.bootstrap_interval(accuracy_of, label, p, np.arange(600), **settings)
    assert low <= right.mean() <= high
    # 20 independent places know far less than 600 independent images would
    assert high - low > 3 * (single_high - single_low)
    assert scores.bootstrap_interval(accuracy_of, label, p, np.repeat(np.arange(20), 30), **settings) == (low, high)


def test_interval_passes_over_resamples_of_one_class() -> None:
    settings = {"resamples": 200, "confidence": 0.9, "seed": 0}
    assert scores.bootstrap_interval(scores.auc, [0, 1], [0.1, 0.9], ["a", "b"], **settings) == (1.0, 1.0)
    low, high = scores.bootstrap_interval(scores.auc, [1, 1], [0.1, 0.9], ["a", "b"], **settings)
    assert np.isnan(low)
    assert np.isnan(high)


@pytest.mark.parametrize(
    ("errors", "n", "expected"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        # no error in n: the rule of three, 1 - 0.05 ** (1 / n)
        (0, 100, 1 - 0.05**0.01),
        (0, 10, 1 - 0.05**0.1),
        # one error in 10 (tables of Clopper and Pearson)
        (1, 10, 0.3942),
    ],
)
def test_clopper_pearson_table(errors: int, n: int, expected: float) -> None:
    assert scores.clopper_pearson_upper(errors, n, 0.95) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("errors", "n"), [(-1, 5), (6, 5)])
def test_clopper_pearson_refuses_impossible_counts(errors: int, n: int) -> None:
    with pytest.raises(ValueError, match="errors"):
        scores.clopper_pearson_upper(errors, n, 0.95)
