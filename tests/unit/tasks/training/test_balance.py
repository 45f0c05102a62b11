"""How much pictures count: labels have the prior's share, and a large source does not hide a small one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.evaluate.prior import prior_weights
from tasks.config import load_params
from tasks.training.balance import Balance
from tests.support.paths import ROOT

ROWS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["rendered", "mined", "a", "a/x", "b"])), min_size=1)
WEIGHTS = st.fixed_dictionaries({"a": st.floats(0.1, 10), "b": st.floats(0.1, 10)})


def mass(balance: Balance, rows: list[tuple[int, str]]) -> dict[tuple[int, str], float]:
    """Share of the loss of each label and source."""
    weight = balance.of([label for label, _ in rows], [source for _, source in rows])
    found: dict[tuple[int, str], float] = {}
    for row, value in zip(rows, weight, strict=True):
        found[row] = found.get(row, 0.0) + float(value) / len(rows)
    return found


@pytest.mark.parametrize(
    ("power", "weight", "expected"),
    [
        # every picture alike: as many as there are
        (1.0, 1.0, {"rendered": 0.45, "a": 0.05}),
        # square roots: 3 to 1
        (0.5, 1.0, {"rendered": 0.375, "a": 0.125}),
        # sources alike
        (0.0, 1.0, {"rendered": 0.25, "a": 0.25}),
        # a source that counts three times as much
        (0.0, 3.0, {"rendered": 0.125, "a": 0.375}),
    ],
)
def test_shares_of_sources(power: float, weight: float, expected: dict[str, float]) -> None:
    rows = [(1, "rendered")] * 90 + [(1, "a")] * 10 + [(0, "rendered")] * 50
    found = mass(Balance(0.5, {"a": weight}, power), rows)
    assert {source: value for (label, source), value in found.items() if label == 1} == pytest.approx(expected)
    assert found[0, "rendered"] == pytest.approx(0.5)


def test_what_is_made_from_the_main_source_counts_with_it() -> None:
    rows = [(1, "rendered")] * 60 + [(1, "mined")] * 30 + [(1, "a/x")] * 10 + [(0, "real")]
    found = mass(Balance(None, {"a": 1.0}, 0.5), rows)
    assert found[1, "rendered"] == pytest.approx(2 * found[1, "mined"])
    assert found[1, "rendered"] + found[1, "mined"] == pytest.approx(3 * found[1, "a/x"])


@given(ROWS, st.sampled_from([None, 0.2, 0.5]), WEIGHTS, st.floats(0, 1))
def test_labels_keep_the_share_of_the_prior(
    rows: list[tuple[int, str]], prior: float | None, weights: dict[str, float], power: float
) -> None:
    label = np.array([one for one, _ in rows])
    weight = Balance(prior, weights, power).of(label, [source for _, source in rows])
    alone = prior_weights(label, prior)
    assert (weight > 0).all()
    assert weight.sum() == pytest.approx(len(rows))
    for value in (0, 1):
        assert weight[label == value].sum() == pytest.approx(alone[label == value].sum())


@given(ROWS, st.floats(0, 1))
def test_without_further_sources_the_prior_alone_counts(rows: list[tuple[int, str]], power: float) -> None:
    label = [one for one, _ in rows]
    assert np.array_equal(Balance(0.5, {}, power).of(label, [source for _, source in rows]), prior_weights(label, 0.5))


def test_parameters_give_the_balance() -> None:
    params = load_params(ROOT / "params.yaml")
    assert Balance.of_params(params) == Balance(params.prior, {}, params.pull.source_power)
