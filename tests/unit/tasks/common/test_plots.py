"""Plots: the numbers under them, and the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.common.plots import draw_all, precision_recall, risk_coverage

LABEL, P = np.array([1.0, 0.0, 1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.7, 0.1, 0.1])


def test_precision_recall_joins_ties() -> None:
    precision, recall = precision_recall(LABEL, P, np.ones(len(P)))
    assert precision == pytest.approx([1, 1 / 2, 2 / 3, 3 / 5])
    assert recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])


def test_risk_coverage_answers_the_most_certain_first() -> None:
    coverage, risk = risk_coverage(LABEL, P, np.ones(len(P)))
    assert coverage == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    # 0.9 right, 0.1 right, 0.1 wrong, 0.8 wrong, 0.7 right
    assert risk == pytest.approx([0, 0, 1 / 3, 2 / 4, 2 / 5])


def test_pictures_are_the_same_twice_and_stale_ones_go(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.png").write_text("stale")
        draw_all(LABEL, P, tmp_path / name, "test", prior=None)
    names = {"precision_recall.png", "reliability.png", "confusion.png", "risk_coverage.png"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert Image.open(tmp_path / "a" / name).size[0] > 300


def test_curves_are_those_of_the_weights() -> None:
    """A picture of weight two is two pictures."""
    weight = np.where(LABEL == 1, 2.0, 1.0)
    rows = np.repeat(np.arange(len(P)), weight.astype(int))
    precision, recall = precision_recall(LABEL, P, weight)
    whole = precision_recall(LABEL[rows], P[rows], np.ones(len(rows)))
    assert (precision, recall) == (pytest.approx(whole[0]), pytest.approx(whole[1]))
    coverage, risk = risk_coverage(LABEL, P, weight)
    assert (coverage[-1], risk[-1]) == (1, pytest.approx(np.average((P > 0.5) != (LABEL == 1), weights=weight)))


def test_pictures_show_the_prior(tmp_path: Path) -> None:
    for name, prior in (("own", None), ("other", 0.9)):
        draw_all(LABEL, P, tmp_path / name, "test", prior=prior)
    for path in (tmp_path / "own").iterdir():
        assert path.read_bytes() != (tmp_path / "other" / path.name).read_bytes()
