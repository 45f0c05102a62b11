"""The statistics are those of their definitions, and the tests keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.monitoring.two_samples import (
    SIGNALS,
    Pictures,
    _divisions,
    compare,
    gaussian,
    holm,
    kolmogorov_smirnov,
    mmd,
    moved,
    total_variation,
)

P_VALUES = st.lists(st.floats(0.001, 1), min_size=1, max_size=6)


def pictures(seed: int, count: int, shift: float = 0.0) -> Pictures:
    random = np.random.default_rng(seed)
    embedding = random.normal(shift, 1, (count, 16))
    return Pictures(
        embedding, random.random(count), random.choice(["classifier clear", "vlm roadwork"], count).tolist()
    )


def seen(first: int, second: int) -> NDArray[np.bool_]:
    return np.arange(first + second)[None] < first


def test_mmd_is_its_definition() -> None:
    rows = np.random.default_rng(1).normal(size=(9, 3))
    k, n, m = gaussian(rows), 4, 5
    within = [[k[i, j] for i in part for j in part if i != j] for part in (range(n), range(n, 9))]
    across = [k[i, j] for i in range(n) for j in range(n, 9)]
    by_hand = sum(within[0]) / (n * (n - 1)) + sum(within[1]) / (m * (m - 1)) - 2 * sum(across) / (n * m)
    assert mmd(rows)(seen(n, m))[0] == pytest.approx(by_hand)


def test_kolmogorov_smirnov_is_its_definition() -> None:
    random = np.random.default_rng(2)
    for decimals in (1, 8):  # with many equal values, and with none
        a, b = random.random(50).round(decimals), random.beta(2, 2, 40).round(decimals)
        value = kolmogorov_smirnov(np.concatenate([a, b]))(seen(50, 40))[0]
        by_hand = max(abs((a <= x).mean() - (b <= x).mean()) for x in [*a, *b])
        assert value == pytest.approx(by_hand)


def test_total_variation_by_hand() -> None:
    # shares 2/4, 1/4, 1/4 against 1/2, 0, 1/2
    assert total_variation(["a", "a", "b", "c", "a", "c"])(seen(4, 2))[0] == pytest.approx(0.25)
    assert total_variation(["a"] * 6)(seen(4, 2))[0] == 0


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01], [0.01]),  # one test: as it is
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # times 3, 2, 1, never falling
        ([0.5, 0.9], [1.0, 1.0]),  # no probability above 1
    ],
)
def test_holm(p: list[float], corrected: list[float]) -> None:
    assert holm(p) == pytest.approx(corrected)


@given(P_VALUES)
def test_holm_never_makes_a_p_value_smaller_and_keeps_the_order(p: list[float]) -> None:
    found = holm(p)
    assert all(after >= before for before, after in zip(p, found, strict=True))
    assert all(found[i] <= found[j] for i in range(len(p)) for j in range(len(p)) if p[i] < p[j])


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        ({"embedding": np.random.default_rng(9).normal(0.5, 1, (60, 16))}, "embedding"),
        ({"probability": np.random.default_rng(9).beta(8, 2, 60)}, "confidence"),
        ({"exits": ["ocr clear"] * 40 + ["vlm roadwork"] * 20}, "exits"),
    ],
)
def test_each_signal_sees_its_own_change(change: dict[str, object], signal: str) -> None:
    first, same = pictures(3, 80), pictures(4, 60)
    second = Pictures(**{**vars(same), **change})
    found = compare(first, second, 299)
    assert found[signal].p <= 0.01
    assert min(found[name].p for name in SIGNALS if name != signal) > 0.05
    assert min(one.p for one in compare(first, same, 299).values()) > 0.05


def test_the_level_is_kept_without_drift() -> None:
    """Of 200 comparisons of one source at a level of 0.05: 10 breaches expected, more than 19 once in 500 times."""
    breaches = sum(
        min(one.p for one in compare(pictures(seed, 30), pictures(seed + 1000, 20), 99).values()) <= 0.05
        for seed in range(200)
    )
    assert breaches <= 19


@pytest.mark.parametrize(("block", "least", "most"), [(1, 60, 200), (10, 0, 19)])
def test_blocks_keep_the_level_where_neighbours_are_alike(block: int, least: int, most: int) -> None:
    """Ten pictures of each street in a row, and no drift: picture by picture far too many of 200 runs are breaches."""

    def streets(random: np.random.Generator, count: int) -> Pictures:
        embedding = np.repeat(random.normal(size=(count, 8)), 10, axis=0) + random.normal(0, 0.3, (10 * count, 8))
        return Pictures(embedding, random.random(10 * count), ["on"] * 10 * count)

    random = np.random.default_rng(8)
    runs = [compare(streets(random, 12), streets(random, 8), 99, block=block) for _ in range(200)]
    assert least <= sum(min(one.p for one in run.values()) <= 0.05 for run in runs) <= most


def test_a_last_block_may_be_smaller() -> None:
    divisions = _divisions(23, 18, 50, 5, 0)
    assert divisions.shape == (51, 41)
    assert divisions[0].tolist() == [True] * 23 + [False] * 18
    # neighbours stay together
    assert all((row[:5] == row[0]).all() and (row[38:] == row[38]).all() for row in divisions)


def test_the_picture_that_moved_most_is_the_one_far_from_the_reference() -> None:
    first, second = pictures(5, 60), pictures(6, 30)
    second.embedding[:10] += 3.0
    assert set(np.argsort(-moved(first, second))[:10].tolist()) == set(range(10))
