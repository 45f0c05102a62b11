"""Which choice of excluded nodes int8 is written with, and on which batches its answers are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.config import load_params
from tasks.optimize import exclusions
from tasks.optimize.report import gap_one_and_many
from tests.support.paths import ROOT

A, B, C = ("a",), ("b",), ("c",)
PICTURES = np.zeros((8, 2, 2, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("gaps", "taken", "written"),
    [
        ({A: 0.01, B: 0.0, C: 0.0}, A, [A]),  # the first holds: the others are not even tried
        ({A: 0.03, B: 0.02, C: 0.01}, B, [A, B]),  # just within the limit
        ({A: 0.03, B: 0.021, C: 0.05}, B, [A, B, C, B]),  # none holds: the nearest, for the benchmark to refuse
        ({A: 0.03}, A, [A]),  # a sole choice is measured by the benchmark
    ],
)
def test_the_first_choice_that_holds_is_taken(
    gaps: dict[exclusions.Exclusion, float],
    taken: exclusions.Exclusion,
    written: list[exclusions.Exclusion],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    params = load_params(ROOT / "params.yaml").export
    int8 = params.int8.model_copy(update={"exclude": tuple(gaps), "max_probability_gap": 0.02})
    seen: list[exclusions.Exclusion] = []
    monkeypatch.setattr(exclusions, "_gap", lambda *_: {"max_probability_gap": gaps[seen[-1]]})
    found = exclusions.choose_exclusions(
        seen.append, tmp_path, "openvino", params.model_copy(update={"int8": int8}), PICTURES, np.zeros(8)
    )
    assert (found.nodes, seen) == (taken, written)
    # what was measured of the model that is written last is not measured again
    assert found.gap == (None if len(gaps) == 1 else {"max_probability_gap": gaps[taken]})


@pytest.mark.parametrize("worse", [1, 4])
def test_a_picture_that_only_moves_one_way_is_seen(worse: int) -> None:
    def answer(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full(len(batch), 1.0 if len(batch) == worse else 0.1, dtype=np.float32)

    found = gap_one_and_many(answer, PICTURES, np.zeros(8), 4)
    assert found["max_probability_gap"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)
