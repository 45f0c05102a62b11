"""Distances and the measures that FiftyOne Brain has too (tests/integration compares them with it)."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.mining.space import Space, hardness, nearest, neighbour_distance, uncertainty, uniqueness


@pytest.mark.parametrize(
    ("p", "sure", "entropy"),
    [
        # certain, undecided, in between and its mirror
        (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0),
        (0.5, 1.0, np.log(2)),
        (0.9, 0.2, 0.325083),
        (0.1, 0.2, 0.325083),
    ],
)
def test_uncertainty_and_hardness(p: float, sure: float, entropy: float) -> None:
    assert uncertainty(np.array([p]))[0] == pytest.approx(sure)
    assert hardness(np.array([p]))[0] == pytest.approx(entropy, abs=1e-6)


def test_space_takes_out_what_is_common() -> None:
    rows = np.array([[100.0, 1.0, 5.0], [100.0, -1.0, 5.0], [102.0, 1.0, 5.0], [102.0, -1.0, 5.0]], dtype=np.float32)
    space = Space.of(rows)
    units = space.unit(rows)
    assert np.allclose(np.linalg.norm(units, axis=1), 1)
    # the first and the last are opposite once the common direction is gone; the constant dimension stays silent
    assert units[0] @ units[3] == pytest.approx(-1)


@pytest.mark.parametrize("count", [0, 1])
def test_space_of_next_to_nothing_changes_nothing(count: int) -> None:
    assert Space.of(np.ones((count, 3), dtype=np.float32)).mean.tolist() == [0, 0, 0]


def test_zero_rows_stay_zero() -> None:
    assert Space.of(np.zeros((1, 2))).unit(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]


def test_nearest_without_centres_is_as_far_as_can_be() -> None:
    assert nearest(np.eye(2, dtype=np.float32), np.zeros((0, 2), dtype=np.float32)).tolist() == [2, 2]


def test_the_lonely_one_is_unique() -> None:
    rows = Space.of(np.zeros((1, 3))).unit(np.array([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [1, 0.1, 0.1], [-1, 0, 0]]))
    values = uniqueness(rows)
    assert values.argmax() == 4
    assert values.max() == pytest.approx(1)


def test_neighbours_in_a_sample() -> None:
    """A row that is in the sample passes over itself; one that is not keeps its nearest."""
    rows = Space.of(np.zeros((1, 4))).unit(np.random.default_rng(1).standard_normal((30, 4)))
    whole = neighbour_distance(rows, rows)
    assert np.allclose(neighbour_distance(rows[:5], rows), whole[:5])
    assert (neighbour_distance(rows[20:], rows[:20]) >= whole[20:] - 1e-6).all()


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_to_have_neighbours(count: int) -> None:
    assert uniqueness(np.eye(3, dtype=np.float32)[:count]).tolist() == [1] * count
