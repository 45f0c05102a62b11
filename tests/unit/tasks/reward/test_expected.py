"""The expected reward: worked cases, the full sum for small windows, and a validator that is simulated."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.evaluate.scores import mcc, reward
from tasks.reward import expected
from tasks.reward.change import change_words, expected_by_place
from tasks.reward.expected import expected_reward, positive_mcc
from tasks.reward.places import Rates, draw_places, place_counts, rates


def at(recall: float, rejected: float, share: float = 0.5) -> float:
    return float(expected_reward(Rates(np.array(recall), np.array(rejected), np.array(share))))


# E(h^3) of 10 fair answers: 125 + 3 * 5 * 2.5 + 0; the last 10 alone count where MCC is 0
FAIR = (125 + 37.5) / 20**3


@pytest.mark.parametrize(
    ("recall", "rejected", "share", "value"),
    [
        # never wrong: MCC 1 and accuracy 1 in every window
        (1.0, 1.0, 0.5, 1.0),
        # always "roadwork": MCC 0, and accuracy is the share of roadwork among 10 fair draws
        (1.0, 0.0, 0.5, FAIR),
        # always "clear"
        (0.0, 1.0, 0.5, FAIR),
        # never right: nothing
        (0.0, 0.0, 0.5, 0.0),
        # roadwork alone: one class, MCC 0, accuracy 1 of 10: (0.5)^3
        (1.0, 0.3, 1.0, 0.125),
        # clear alone, always wrong
        (0.7, 0.0, 0.0, 0.0),
    ],
)
def test_worked_cases(recall: float, rejected: float, share: float, value: float) -> None:
    assert at(recall, rejected, share) == pytest.approx(value, abs=1e-7)


def brute(recall: float, rejected: float, share: float, window: int, recent: int) -> float:
    """Sum over every sequence of a small window: label and answer of each challenge."""
    total = 0.0
    chances = {(1, 1): share * recall, (1, 0): share * (1 - recall),
               (0, 0): (1 - share) * rejected, (0, 1): (1 - share) * (1 - rejected)}  # fmt: skip
    for sequence in product(chances, repeat=window):
        label, said = zip(*sequence, strict=True)
        right = np.mean([one == other for one, other in sequence[-recent:]])
        total += float(np.prod([chances[one] for one in sequence])) * reward(mcc(label, said), float(right))
    return total


@pytest.mark.parametrize(("recall", "rejected", "share"), [(0.9, 0.8, 0.5), (0.6, 0.95, 0.3), (0.2, 0.4, 0.5)])
def test_it_is_the_sum_over_all_sequences(
    recall: float, rejected: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected._rewards.cache_clear()
    monkeypatch.setattr(expected, "MCC_WINDOW", 6)
    monkeypatch.setattr(expected, "ACCURACY_WINDOW", 3)
    try:
        assert at(recall, rejected, share) == pytest.approx(brute(recall, rejected, share, 6, 3), abs=1e-9)
    finally:
        expected._rewards.cache_clear()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60)
def test_correlation_is_the_runtimes_cut_at_zero(hits: int, misses: int, alarms: int, rejections: int) -> None:
    label = [1] * (hits + misses) + [0] * (alarms + rejections)
    said = [1] * hits + [0] * misses + [1] * alarms + [0] * rejections
    value = max(mcc(label, said), 0.0) if label else 0.0
    assert float(positive_mcc(hits, misses, alarms, rejections)) == pytest.approx(value)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.05))
@settings(max_examples=25)
def test_answering_better_is_never_worth_less(recall: float, rejected: float, more: float) -> None:
    better = at(min(recall + more, 1.0), min(rejected + more, 1.0))
    # below chance a higher accuracy counts alone
    assert better >= at(recall, rejected) - 1e-9
    assert 0 <= better <= 1 + 1e-9


def test_no_pictures_give_no_figure_and_many_rates_keep_their_shape() -> None:
    assert np.isnan(expected_reward(rates(np.zeros(4), 0.5)))
    table = np.array([[[9, 1, 2, 8], [5, 5, 5, 5]], [[0, 0, 3, 7], [9, 1, 2, 8]]])
    found = expected_reward(rates(table, 0.5))
    assert found.shape == (2, 2)
    assert found[0, 0] == found[1, 1] == pytest.approx(at(0.9, 0.8))
    # no roadwork: the prior is not applied, and MCC is 0
    assert found[1, 0] == pytest.approx(sum(
        comb(10, right) * 0.7**right * 0.3 ** (10 - right) * (0.05 * right) ** 3 for right in range(11)
    ))  # fmt: skip


def test_interval_is_paired_by_place() -> None:
    random = np.random.default_rng(5)
    place = np.repeat(np.arange(30), 8)
    label = np.tile([0, 1], 120)
    good, fair = (np.where(random.random(240) < share, 1 - label, label) for share in (0.05, 0.15))
    drawn = draw_places(30, resamples=400, seed=1)
    new, old = (expected_by_place(place_counts(label, said, place), drawn, 0.5) for said in (good, fair))
    change, none = new.above(old, 0.95), new.above(new, 0.95)
    assert change.value == pytest.approx(new.value - old.value)
    assert 0 < change.low < change.value < change.high
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert new.scaled(0.5).estimate(0.95).low == pytest.approx(new.estimate(0.95).low / 2)


def test_words() -> None:
    assert change_words(0.0209, (-0.0104, 0.0512), 0.95) == "+0.021 reward (95 % interval -0.010 to +0.051)"
    assert change_words(-0.1, (-0.2, 0.0), 0.9, 11.6) == "-0.100 reward (90 % interval -0.200 to +0.000), at +12 ms"
