"""A source that gives its label away by its camera: the head that never saw it shows what was learnt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.classifier import leave_one_out as module
from tasks.classifier.leave_one_out import leave_one_out
from tasks.data.feature_store import SplitFeatures
from tasks.data.schema import DataError
from tasks.training.balance import Balance
from tests.unit.tasks.classifier.test_head import params

CHOSEN = params(epochs=20, learning_rate=0.02, tta_band=None, cut_resamples=20)


def features(seed: int, *, further: bool = True) -> SplitFeatures:
    """120 main pictures whose first number tells the label; 40 of a source whose second tells it by the camera."""
    random = np.random.default_rng(seed)
    label = np.arange(160) % 2
    x = random.normal(size=(160, 1, 12)).astype(np.float32)
    source = ["rendered"] * 120 + ["mine/old" if number % 2 else "mine/new" for number in range(40)]
    x[:120, 0, 0] += 3 * label[:120]
    x[120:, 0, 1] += 8 * label[120:]
    names = [f"{number}" for number in range(160)]
    found = SplitFeatures(x, label, names, names, ["0.0"], source=source)
    return found if further else found.only(np.arange(160) < 120)


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *, further: bool = True, balance: Balance) -> dict[str, object]:
    splits = {"train": features(0, further=further), "calibration": features(1)}
    monkeypatch.setattr(module, "read_features", lambda *_: (splits, {"channels": 1}))
    return leave_one_out(CHOSEN, balance, folder / "features", folder)


def test_a_shortcut_shows_where_the_source_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, monkeypatch, balance=Balance(0.5, {"mine": 1.0}, 0.5))
    assert json.loads((tmp_path / "leave_one_out.json").read_text()) == found
    assert found.keys() == {"mine/new", "mine/old"}
    old = found["mine/old"]
    assert isinstance(old, dict)
    assert old["pictures"] == {"roadwork": 20, "clear": 0}
    assert old["measured_on"] == "calibration"
    assert old["with"]["recall"] > 0.9
    assert old["without"]["recall"] < 0.2
    assert old["rest"]["without"]["n"] == 140


def test_without_further_sources_there_is_nothing_to_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"pull\.beside"):
        run(tmp_path, monkeypatch, further=False, balance=Balance(0.5))
