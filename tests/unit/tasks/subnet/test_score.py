"""The validator's arithmetic: a table worked out by hand, and whole runs against the tracker."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.subnet.score import NO_ANSWER, Tracker, rewards_of, scores_of, window_figures

NAN = math.nan
Pairs = list[tuple[int, float]]
# 3 of 4 right: tp 2, fn 1, tn 1, fp 0; MCC (2*1 - 0*1) / sqrt(2 * 3 * 1 * 2)
MIXED = 2 / math.sqrt(12)
ONE_HALF = 0.5**3


@pytest.mark.parametrize(
    ("answers", "mcc", "accuracy", "reward"),
    [
        # a single answer is a single class: MCC 0, accuracy 1
        ([(1, 0.9)], 0.0, 1.0, ONE_HALF),
        # roadwork alone, ten times: still no MCC
        ([(1, 0.9)] * 10, 0.0, 1.0, ONE_HALF),
        # both labels, one class said: MCC 0
        ([(1, 0.9), (0, 0.9)], 0.0, 0.5, 0.25**3),
        # both labels, both right
        ([(1, 0.9), (0, 0.1)], 1.0, 1.0, 1.0),
        # both wrong: MCC -1 counts as 0
        ([(1, 0.1), (0, 0.9)], 0.0, 0.0, 0.0),
        # fewer than 10 answers: both windows hold what there is
        ([(1, 0.9), (1, 0.8), (1, 0.2), (0, 0.1)], MIXED, 0.75, (0.5 * MIXED + 0.375) ** 3),
        # exactly 0.5 rounds to 0: wrong for roadwork, right for clear
        ([(0, 0.1), (1, 0.5)], 0.0, 0.5, 0.25**3),
        ([(1, 0.9), (0, 0.5)], 1.0, 1.0, 1.0),
        # just above it
        ([(0, 0.1), (1, 0.50001)], 1.0, 1.0, 1.0),
        # no answer: dropped from both figures, and this challenge earns nothing
        ([(1, 0.9), (0, 0.1), (1, NO_ANSWER)], 1.0, 1.0, 0.0),
        # the next answer is paid in full
        ([(1, NO_ANSWER), (1, 0.9), (0, 0.1)], 1.0, 1.0, 1.0),
        # nothing but silence
        ([(1, NO_ANSWER)], 0.0, 0.0, 0.0),
        # silence takes places of the window: of the last ten, eight are -1 and two are right
        ([(1, 0.1)] * 5 + [(0, NO_ANSWER)] * 8 + [(1, 0.9), (0, 0.1)], math.sqrt(1 / 36), 1.0, (0.5 / 6 + 0.5) ** 3),
        # out of range, rounds to 1 and 0: figures count it, this challenge earns nothing
        ([(0, 0.1), (1, 1.4)], 1.0, 1.0, 0.0),
        ([(1, 0.9), (0, -0.3)], 1.0, 1.0, 0.0),
        # the challenge after it is paid
        ([(1, 1.4), (0, 0.1)], 1.0, 1.0, 1.0),
        # out of range, rounds to 2: scikit-learn refuses both windows, in the next challenge too
        ([(0, 0.1), (1, 1.6)], 0.0, 0.0, 0.0),
        ([(1, 1.6), (0, 0.1), (1, 0.9)], 0.0, 0.0, 0.0),
        ([(1, -2.0), (0, 0.1), (1, 0.9)], 0.0, 0.0, 0.0),
        # once it has left the last ten, accuracy counts again, and MCC does not
        ([(1, 1.6)] + [(0, 0.1), (1, 0.9)] * 5, 0.0, 1.0, ONE_HALF),
        # NaN: is no -1 and not out of range, but no window takes it
        ([(0, 0.1), (1, NAN)], 0.0, 0.0, 0.0),
        ([(1, NAN)] + [(0, 0.1), (1, 0.9)] * 5, 0.0, 1.0, ONE_HALF),
        # 100 later it has left MCC's window as well
        ([(1, NAN)] + [(0, 0.1), (1, 0.9)] * 50, 1.0, 1.0, 1.0),
        ([(1, NAN)] + [(0, 0.1), (1, 0.9)] * 49 + [(0, 0.1)], 0.0, 1.0, ONE_HALF),
        # a mistake counts in accuracy for ten challenges ...
        # tp 4, fn 1, tn 5
        ([(1, 0.1)] + [(0, 0.1), (1, 0.9)] * 4 + [(0, 0.1)], 20 / math.sqrt(600), 0.9,
         (20 / math.sqrt(600) / 2 + 0.45) ** 3),
        # ... and in MCC for a hundred: tp 50, fn 1, tn 49 of the last 100
        ([(1, 0.1)] + [(0, 0.1), (1, 0.9)] * 49 + [(1, 0.9)], 49 * 50 / math.sqrt(50 * 51 * 49 * 50), 1.0,
         (49 * 50 / math.sqrt(50 * 51 * 49 * 50) / 2 + 0.5) ** 3),
        ([(1, 0.1)] + [(0, 0.1), (1, 0.9)] * 50, 1.0, 1.0, 1.0),
    ],
)  # fmt: skip
def test_worked_cases(answers: Pairs, mcc: float, accuracy: float, reward: float) -> None:
    tracker = Tracker()
    for label, answer in answers:
        standing = tracker.add(label, answer)
    assert (standing.mcc, standing.accuracy, standing.reward) == pytest.approx((mcc, accuracy, reward))
    label, answer = (np.array([column]) for column in zip(*answers, strict=True))
    assert rewards_of(label, answer)[0, -1] == pytest.approx(reward)


def test_the_score_is_a_moving_average_from_nothing() -> None:
    tracker = Tracker()
    # rewards 1/8, 1 and 0: 0.05/8, then 0.05 + 0.95 * 0.00625, then 0.95 of that
    scores = [tracker.add(*pair).score for pair in ((1, 0.9), (0, 0.1), (1, NO_ANSWER))]
    assert scores == pytest.approx([0.00625, 0.0559375, 0.053140625])


ANSWERS = st.one_of(st.floats(0, 1), st.sampled_from([0.5, -1.0, 1.4, -0.4, 1.6, -3.0, NAN]))
RUN = st.lists(st.tuples(st.integers(0, 1), ANSWERS), min_size=1, max_size=130)


@given(RUN)
@settings(max_examples=40)
def test_whole_runs_are_the_tracker_step_by_step(answers: Pairs) -> None:
    tracker = Tracker()
    standings = [tracker.add(*pair) for pair in answers]
    label, answer = (np.array([column]) for column in zip(*answers, strict=True))
    rewards = rewards_of(label, answer)
    assert rewards[0].tolist() == pytest.approx([one.reward for one in standings])
    assert scores_of(rewards)[0].tolist() == pytest.approx([one.score for one in standings])


@given(st.lists(st.tuples(st.integers(0, 1), ANSWERS), min_size=1, max_size=20))
@settings(max_examples=60)
def test_window_figures_are_those_of_scikit_learn(window: Pairs) -> None:
    """What the validator's tracker does with a window, with the functions that it calls."""
    from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_score

    kept = [(label, np.round(answer)) for label, answer in window if answer != -1]
    # a window of roadwork alone with answers of 1 and one other value passes as two classes; nothing hangs on it
    if kept and all(label for label, _ in kept) and {said for _, said in kept} - {0.0, 1.0}:
        return
    expected = (0.0, 0.0)
    if kept:
        label, said = zip(*kept, strict=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                right = accuracy_score(label, said)
                precision_score(label, said, zero_division=0)
                expected = max(0.0, matthews_corrcoef(label, said)) if len(set(label)) > 1 else 0.0, right
            except ValueError:
                pass
    assert window_figures(window) == pytest.approx(expected)
