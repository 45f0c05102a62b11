"""Statistics of the gate: hand-worked tables, scipy, the runtime's own scores, and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, bootstrap, chi2_contingency

from cascade.evaluate.scores import classification_scores
from tasks.release.gate.statistics import (
    detectable,
    difference,
    mcnemar,
    mcnemar_by_place,
    resample,
)
from tasks.reward.places import draw_places, measures, place_counts

FEW = settings(max_examples=25, deadline=None)


def pairs(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Right answers of challenger and champion with such a table."""
    new = [True] * both + [True] * gained + [False] * lost + [False] * neither
    old = [True] * both + [False] * gained + [True] * lost + [False] * neither
    return new, old


@pytest.mark.parametrize(
    ("table", "p", "exact"),
    [
        # no discordant pair says nothing
        ((5, 0, 0, 3), 1.0, True),
        # one pair: either side is as likely
        ((5, 1, 0, 3), 1.0, True),
        # 6 to 0: 2 / 2^6
        ((5, 6, 0, 3), 0.03125, True),
        # 1 to 7: 2 (1 + 8) / 2^8
        ((0, 1, 7, 0), 0.0703125, True),
        # evenly split
        ((9, 4, 4, 9), 1.0, True),
        # 25 pairs: (|5 - 20| - 1)^2 / 25 = 7.84 with one degree of freedom
        ((0, 5, 20, 0), 0.005110260660855, False),
        # McNemar's table in Agresti (2002, table 10.1): 86 and 150, (64 - 1)^2 / 236 = 16.818
        ((794, 86, 150, 570), 4.114562e-05, False),
    ],
)
def test_mcnemar_of_worked_tables(table: tuple[int, int, int, int], p: float, exact: bool) -> None:
    found = mcnemar(*pairs(*table))
    assert (found.both, found.gained, found.lost, found.neither) == table
    assert found.p == pytest.approx(p, rel=1e-6)
    assert found.exact is exact


@given(st.integers(0, 30), st.integers(0, 30))
@FEW
def test_mcnemar_is_the_same_from_either_side(gained: int, lost: int) -> None:
    one, other = mcnemar(*pairs(3, gained, lost, 2)), mcnemar(*pairs(3, lost, gained, 2))
    assert one.p == pytest.approx(other.p)
    assert (one.gained, one.lost) == (other.lost, other.gained)


@given(st.integers(1, 24), st.data())
@FEW
def test_exact_mcnemar_is_twice_the_binomial_tail(total: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, total))
    expected = min(1.0, 2 * float(binom.cdf(min(lost, total - lost), total, 0.5)))
    assert mcnemar(*pairs(0, total - lost, lost, 0)).p == pytest.approx(expected)


def test_places_count_once_however_many_views_they_have() -> None:
    # a place of four views gained, one of three views lost, one with a gain and a loss
    new = [True] * 4 + [False] * 3 + [True, False]
    old = [False] * 4 + [True] * 3 + [False, True]
    place = ["a"] * 4 + ["b"] * 3 + ["c"] * 2
    found = mcnemar_by_place(new, old, place)
    assert (found.gained, found.lost, found.both, found.p) == (1, 1, 1, 1.0)
    # seven views of one place are one witness
    assert mcnemar_by_place([True] * 7, [False] * 7, ["a"] * 7).p == 1.0
    assert mcnemar([True] * 7, [False] * 7).p < 0.05


LABELS_AND_ANSWERS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40)


@given(LABELS_AND_ANSWERS, st.sampled_from([None, 0.5, 0.2]))
@FEW
def test_figures_are_those_of_the_runtime(rows: list[tuple[int, int]], prior: float | None) -> None:
    label, said = (np.array(column) for column in zip(*rows, strict=True))
    counts = place_counts(label, said, np.zeros(len(label)))
    found = measures(counts.sum(axis=0), prior)
    expected = classification_scores(label, said.astype(float), prior=prior)
    for name in ("mcc", "accuracy", "reward"):
        assert float(found[name]) == pytest.approx(expected[name], abs=1e-9)
    if label.any():
        assert float(found["recall"]) == pytest.approx(expected["recall"])


def test_figures_of_a_worked_table() -> None:
    # 40 hits, 10 misses, 5 false alarms, 45 right rejections: phi coefficient from chi-square without correction
    counts = np.array([40, 10, 5, 45])
    found = measures(counts, None)
    phi = math.sqrt(chi2_contingency([[40, 10], [5, 45]], correction=False).statistic / 100)
    assert float(found["mcc"]) == pytest.approx(phi)
    assert float(found["accuracy"]) == pytest.approx(0.85)
    assert float(found["recall"]) == pytest.approx(0.8)
    assert float(found["reward"]) == pytest.approx((0.5 * phi + 0.5 * 0.85) ** 3)
    # no views: no figure
    assert all(math.isnan(float(value)) for value in measures(np.zeros(4), 0.5).values())


def random_views(seed: int = 3, places: int = 40, views: int = 6) -> tuple[np.ndarray, ...]:
    """Labels, answers of two classifiers that err on a tenth and a fifth of the places' views, and places."""
    random = np.random.default_rng(seed)
    place = np.repeat(np.arange(places), views)
    label = (place % 2).astype(int)
    new, old = (np.where(random.random(len(label)) < share, 1 - label, label) for share in (0.1, 0.2))
    return label, new, old, place


def test_the_interval_is_that_of_scipy_over_places() -> None:
    label, new, old, place = random_views()
    tables = [place_counts(label, said, place) for said in (new, old)]
    drawn = draw_places(40, resamples=4000, seed=1)
    found = difference(*(resample(table, drawn, 0.5) for table in tables), "mcc", 0.95)

    def statistic(index: np.ndarray, axis: int = -1) -> np.ndarray:
        one, two = (measures(table[index.astype(int)].sum(axis=-2), 0.5)["mcc"] for table in tables)
        return np.asarray(one - two)

    random = np.random.default_rng(2)
    expected = bootstrap(
        (np.arange(40),), statistic, n_resamples=4000, method="percentile", vectorized=True, rng=random
    )
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.012)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.012)
    assert found.error == pytest.approx(expected.standard_error, rel=0.08)
    assert found.low < found.value < found.high


def test_pairs_are_drawn_together() -> None:
    """Two classifiers that err alike differ by nothing in every resample; drawn apart they would not."""
    label, new, _, place = random_views()
    drawn = draw_places(40, resamples=200, seed=1)
    one = resample(place_counts(label, new, place), drawn, 0.5)
    found = difference(one, one, "reward", 0.95)
    assert (found.value, found.low, found.high, found.error) == (0, 0, 0, 0)


@given(st.integers(0, 1000))
@FEW
def test_differences_change_sign_with_the_sides(seed: int) -> None:
    label, new, old, place = random_views(seed, places=12, views=3)
    drawn = draw_places(12, resamples=150, seed=4)
    sides = [resample(place_counts(label, said, place), drawn, 0.5) for said in (new, old)]
    one, other = difference(*sides, "mcc", 0.9), difference(*reversed(sides), "mcc", 0.9)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_the_detectable_effect_is_found_as_often_as_it_says() -> None:
    error = 0.02
    effect = detectable(error, 0.95, 0.8)
    assert effect == pytest.approx(2.8016 * error, rel=1e-4)
    measured = np.random.default_rng(0).normal(effect, error, 20_000)
    assert np.mean(measured - 1.95996 * error > 0) == pytest.approx(0.8, abs=0.01)
