"""The arithmetic of the comparison, and one small run of it."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.mining import compare
from tasks.mining.compare import LearningData, simulate
from tasks.mining.compare_report import STRATEGIES, best, labels_needed, margin, table
from tasks.mining.space import Space
from tests.support.mining import mine_params

COUNTS = np.array([10.0, 20.0, 30.0])


@pytest.mark.parametrize(
    ("curve", "target", "labels"),
    [
        # never, at once, on a point, between two, and where the curve dips afterwards
        ([0.1, 0.2, 0.3], 0.4, np.inf),
        ([0.1, 0.2, 0.3], 0.1, 10),
        ([0.1, 0.2, 0.3], 0.2, 20),
        ([0.1, 0.2, 0.3], 0.25, 25),
        ([0.1, 0.3, 0.2], 0.2, 15),
    ],
)
def test_labels_needed(curve: list[float], target: float, labels: float) -> None:
    assert labels_needed(np.array([curve]), target, COUNTS) == pytest.approx(labels)


def test_the_table_names_the_strategy_that_needs_fewer_labels() -> None:
    curves = {name: np.array([[0.1, 0.2, 0.3], [0.1, 0.22, 0.32]]) for name in STRATEGIES}
    curves["uncertain_diverse"] = curves["random"] + np.array([0, 0.1, 0.1])
    curves["uniqueness"] = curves["random"] - 0.05
    lines = {line.split(" |")[0][2:]: line for line in table(curves, COUNTS).splitlines()}
    assert "| 15 (15 to 16) | 20 (20 to 21) |" in lines["uncertain_diverse"]
    assert "over 30" in lines["uniqueness"]
    assert "+0.067 (+0.067 to +0.067)" in lines["uncertain_diverse"]
    assert best(curves) == "uncertain_diverse"
    assert "`uncertain_diverse`, +0.067 (+0.067 to +0.067)" in margin(curves)


def test_simulation_learns_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ROUNDS", 2)
    random = np.random.default_rng(0)
    y = random.integers(2, size=120)
    x = (random.standard_normal((120, 8)) + 2 * y[:, None] * np.eye(8)[0]).astype(np.float32)
    data = LearningData(
        x, y, np.array([f"p{index // 3}" for index in range(120)]), [f"{index:03d}" for index in range(120)]
    )
    curves = [simulate("uncertain_diverse", data, data, mine_params(), Space.of(x), 1, prior=None) for _ in range(2)]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 3
    assert curves[0][-1] > max(curves[0][0], 0.5)
