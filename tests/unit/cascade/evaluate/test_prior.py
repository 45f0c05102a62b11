"""Figures for a prior: what the weights promise, and that no figure depends on how often a label is in the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.prior import describe_prior, odds_at, prior_weights, read_prior, share_at, shift_odds
from cascade.evaluate.scores import (
    bootstrap_interval,
    classification_scores,
    clopper_pearson_upper,
    constant_answer,
    mcc,
)

EIGHTY = np.r_[np.ones(80), np.zeros(20)]
PRIORS = st.floats(0.05, 0.95)


def drawn(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels, both there, and probabilities that know something of them."""
    random = np.random.default_rng(seed)
    label = np.r_[0, 1, random.integers(0, 2, count - 2)]
    return label, np.clip(0.25 + 0.5 * label + random.normal(0, 0.3, count), 0, 1)


def repeated(seed: int, label: int, times: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same rows, those of one label so many times, and their places: copies lie where the first lies."""
    truth, p = drawn(seed)
    rows = np.repeat(np.arange(len(truth)), np.where(truth == label, times, 1))
    return truth[rows], p[rows], rows // 4


@pytest.mark.parametrize(
    ("label", "prior", "expected"),
    [
        # four fifths roadwork, drawn one to one: 0.5 / 0.8 and 0.5 / 0.2
        (EIGHTY, 0.5, (0.625, 2.5)),
        # at its own share nothing changes
        (EIGHTY, 0.8, (1.0, 1.0)),
        # no prior
        (EIGHTY, None, (1.0, 1.0)),
        # a prior that is rarer still
        (EIGHTY, 0.1, (0.125, 4.5)),
    ],
)
def test_weights(label: np.ndarray, prior: float | None, expected: tuple[float, float]) -> None:
    weight = prior_weights(label, prior)
    assert (weight[0], weight[-1]) == pytest.approx(expected)


@pytest.mark.parametrize("label", [[1, 1, 1], [0, 0], []], ids=["roadwork", "clear", "none"])
def test_one_label_alone_weighs_one(label: list[int]) -> None:
    assert prior_weights(label, 0.5).tolist() == [1.0] * len(label)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=50), PRIORS)
def test_weights_sum_to_the_number_of_rows(label: list[int], prior: float) -> None:
    assert prior_weights(label, prior).sum() == pytest.approx(len(label))
    if len(set(label)) == 2:
        assert share_at(label, prior) == pytest.approx(prior)
    assert share_at(label, None) == np.mean(label)


@pytest.mark.parametrize(
    ("prior", "accuracy", "reward"),
    [
        # validators draw one to one: (0.5 * 0 + 0.5 * 0.5) cubed
        (0.5, 0.5, 0.015625),
        # the data's own share flatters: 0.4 cubed
        (None, 0.8, 0.064),
        # the more frequent label is the other one
        (0.1, 0.9, 0.091125),
    ],
)
def test_the_constant_answer_on_four_fifths_roadwork(prior: float | None, accuracy: float, reward: float) -> None:
    constant = constant_answer(share_at(EIGHTY, prior))
    assert constant == {"accuracy": pytest.approx(accuracy), "mcc": 0.0, "reward": pytest.approx(reward)}
    always = classification_scores(EIGHTY, np.full(100, float(prior != 0.1)), prior=prior)
    assert {name: always[name] for name in constant} == constant


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 1), st.integers(2, 6), PRIORS)
def test_no_figure_depends_on_how_often_a_label_is_in_the_data(seed: int, label: int, times: int, prior: float) -> None:
    once, often = repeated(seed, label, 1), repeated(seed, label, times)
    expected = classification_scores(*once[:2], prior=prior)
    found = classification_scores(*often[:2], prior=prior)
    # it counts rows
    assert found.pop("n") > expected.pop("n")
    assert found == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 1), st.integers(2, 6))
def test_nor_does_an_interval(seed: int, label: int, times: int) -> None:
    def interval(given: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[float, float]:
        statistic = lambda truth, q: mcc(truth, q > 0.5, prior_weights(truth, 0.5))  # noqa: E731
        return bootstrap_interval(statistic, *given, resamples=50, confidence=0.9, seed=1)

    assert interval(repeated(seed, label, times)) == pytest.approx(interval(repeated(seed, label, 1)), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 10_000), PRIORS)
def test_scikit_learn_finds_the_same_with_these_weights(seed: int, prior: float) -> None:
    from sklearn import metrics

    label, p = drawn(seed)
    guess, weight = p > 0.5, prior_weights(label, prior)
    found = classification_scores(label, p, prior=prior)
    theirs = {
        "mcc": metrics.matthews_corrcoef(label, guess, sample_weight=weight),
        "accuracy": metrics.accuracy_score(label, guess, sample_weight=weight),
        "brier": metrics.brier_score_loss(label, p, sample_weight=weight),
        "precision": metrics.precision_score(label, guess, sample_weight=weight, zero_division=0),
        "recall": metrics.recall_score(label, guess, sample_weight=weight),
        "auc": metrics.roc_auc_score(label, p, sample_weight=weight),
    }
    assert {name: found[name] for name in theirs} == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("share", "factor", "expected"),
    [
        # to the last bit, or the figures of data at the prior would move
        (0.0185071234, 1.0, 0.0185071234),
        # odds of 1 to 4, four times
        (0.2, 4.0, 0.5),
        (0.0, 7.0, 0.0),
        (1.0, 0.1, 1.0),
    ],
)
def test_odds_are_shifted(share: float, factor: float, expected: float) -> None:
    assert shift_odds(share, factor) == (share if factor == 1 else pytest.approx(expected))


def test_odds_of_a_wrong_answer() -> None:
    # clear is four times as frequent at one to one as it is here
    assert odds_at(EIGHTY, 0.5, wrong=0) == pytest.approx(4)
    assert odds_at(EIGHTY, 0.5, wrong=1) == pytest.approx(1 / 4)
    assert odds_at(EIGHTY, None, wrong=0) == 1
    assert odds_at([1, 1], 0.5, wrong=0) == 1


@pytest.mark.parametrize(
    ("clear", "roadwork"),
    [
        # wrong answers are rare in the data, and four times as frequent where validators draw
        (60, 240),
        # the other way round
        (240, 60),
        (150, 150),
    ],
)
def test_the_shifted_bound_holds_as_often_as_it_says(clear: int, roadwork: int) -> None:
    random, fpr, tpr, draws = np.random.default_rng(3), 0.05, 0.7, 1500
    risk = fpr / (fpr + tpr)
    odds = odds_at(np.r_[np.zeros(clear), np.ones(roadwork)], 0.5, wrong=0)
    held = 0
    for _ in range(draws):
        wrong, right = int(random.binomial(clear, fpr)), int(random.binomial(roadwork, tpr))
        held += clopper_pearson_upper(wrong, wrong + right, 0.95, odds) >= risk
    # less three standard deviations of the draws
    assert held / draws > 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)


@pytest.mark.parametrize(("text", "expected"), [("0.5", 0.5), (".3", 0.3), ("own", None)])
def test_a_prior_on_the_command_line(text: str, expected: float | None) -> None:
    assert read_prior(text) == expected


@pytest.mark.parametrize("text", ["0", "1", "-0.5", "50%", "nan", "inf", ""])
def test_what_is_no_prior_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a share of roadwork between 0 and 1"):
        read_prior(text)


@pytest.mark.parametrize(
    ("prior", "expected"), [(0.5, "prior 0.5"), (0.25, "prior 0.25"), (None, "the data's own prior")]
)
def test_titles_name_it(prior: Any, expected: str) -> None:
    assert describe_prior(prior) == expected
