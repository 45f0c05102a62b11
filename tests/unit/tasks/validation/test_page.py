"""Figures beside the constant answer's and the champion's: what is compared, and what must not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.release.build import build_release
from cascade.release.store import set_champion
from tasks.validation.metrics import measure
from tasks.validation.page import beside, champion_figures, figure_lines, with_interval, write_page
from tests.support import tiny
from tests.unit.tasks.validation.test_metrics import EXITS, answers, params

METRICS = measure(answers(wrong_level=3), params(), EXITS, prior=0.5)


def promoted(root: Path, gate: dict[str, Any]) -> Path:
    """A folder of releases whose champion was measured so."""
    report = root / "metrics.json"
    report.write_text(json.dumps(gate))
    revision = {"data": "d" * 64, "code": "c" * 40}
    classifier = tiny.write_classifier(root / "classifier")
    release = build_release(classifier, report, root / "releases", revision=revision)
    set_champion(root / "releases", release.id)
    return root / "releases"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, None),
        # a champion of another challenge set, or for another prior, is shown and not compared
        ({"n": 852.0}, "views 852.0, here 128.0"),
        ({"prior": None}, "prior None, here 0.5"),
    ],
)
def test_a_champion_stands_beside(changes: dict[str, Any], note: str | None, tmp_path: Path) -> None:
    best = champion_figures(promoted(tmp_path, {**METRICS, "mcc": 0.123, **changes}))
    found = beside(METRICS, best)
    assert (found["champion"]["id"], found["champion"]["mcc"]) == (best["id"], 0.123)
    assert found["constant"] == {"mcc": 0.0, "accuracy": 0.5, "reward": 0.015625, "auc": 0.5}
    page = "\n".join(figure_lines(METRICS, best))
    assert f"champion `{best['id']}`" in page
    assert "| MCC | 0.500 (0.500 to 0.500) | 0.000 | 0.123" in page
    assert ("do not compare" in page) == (note is not None)
    assert note is None or note in found["champion"]["note"]


def test_without_a_champion_there_is_no_column(tmp_path: Path) -> None:
    best = champion_figures(tmp_path)
    assert best == {}
    assert beside(METRICS, best).keys() == {"constant"}
    write_page(tmp_path / "figures.md", METRICS, best)
    lines = (tmp_path / "figures.md").read_text().splitlines()
    assert "| | measured | always the same label |" in lines
    assert "| MCC, level 3 | -1.000 (-1.000 to -1.000) | 0.000 |" in lines


def test_a_champion_that_cannot_be_read_is_named_and_keeps_nothing_from_being_measured(tmp_path: Path) -> None:
    releases = promoted(tmp_path, METRICS)
    (releases / "champion" / "stranger.bin").write_bytes(b"?")
    best = champion_figures(releases)
    assert "stranger.bin" in beside(METRICS, best)["champion"]["note"]
    assert "do not compare: " in figure_lines(METRICS, best)[-1]


def test_a_source_whose_name_holds_a_dot_has_its_row() -> None:
    metrics = {**METRICS, "slice": {"source": {"mine.v2/x": {"mcc": 0.5, "mcc_low": 0.1, "mcc_high": 0.9}}}}
    assert "| MCC, source mine.v2/x | 0.500 (0.100 to 0.900) | 0.000 |" in figure_lines(metrics)


@pytest.mark.parametrize(
    ("document", "keys", "expected"),
    [
        ({"mcc": 0.5}, ("mcc",), "0.500"),  # no interval
        ({"mcc": 0.5, "mcc_low": 0.1}, ("mcc",), "0.500"),  # half of one is none
        ({"a": {"mcc": 1, "mcc_low": 0, "mcc_high": 1}}, ("a", "mcc"), "1.000 (0.000 to 1.000)"),
        ({}, ("a", "mcc"), ""),
        ({"a": 3}, ("a", "mcc"), ""),  # a figure where a section is expected
    ],
)
def test_with_interval(document: dict[str, Any], keys: tuple[str, ...], expected: str) -> None:
    assert with_interval(document, *keys) == expected
