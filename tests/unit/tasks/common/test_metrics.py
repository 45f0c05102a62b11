"""All figures of a stage in one file, the few of a table of experiments in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.common.files import read_json
from tasks.common.metrics import write_metrics


@pytest.mark.parametrize(
    ("document", "headline", "expected"),
    [
        (
            {"mcc": 0.9, "slice": {"night": {"mcc": 0.8}}},
            ("mcc", "slice.night.mcc"),
            {"mcc": 0.9, "slice.night.mcc": 0.8},
        ),
        # zero and false are figures
        ({"lost": 0.0, "met": False, "more": 1}, ("lost", "met"), {"lost": 0.0, "met": False}),
        # a stage that is switched off
        ({"off": 1}, ("mcc", "a.b"), {}),
        # a key below a plain value, and a figure that could not be computed
        ({"a": 1, "b": None}, ("a.b", "b"), {}),
    ],
)
def test_two_files(tmp_path: Path, document: dict[str, Any], headline: tuple[str, ...], expected: Any) -> None:
    write_metrics(tmp_path / "train" / "metrics.json", document, headline)
    assert read_json(tmp_path / "train" / "metrics.json") == document
    assert read_json(tmp_path / "train" / "headline.json") == {
        f"train/{name}": value for name, value in expected.items()
    }
