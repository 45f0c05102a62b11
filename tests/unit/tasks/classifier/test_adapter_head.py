"""A head that takes the place of the adapter's: what ships with it, and when it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.classifier import adapter_head as module
from tasks.classifier.adapter_head import ship_adapter_head, train_adapter_head, training_record
from tasks.classifier.head import Head, HeadShape, make_head
from tasks.common.files import sha256_file
from tasks.config import TrainParams, load_params
from tasks.data.feature_store import SplitFeatures
from tasks.data.schema import DataError
from tasks.training.balance import Balance
from tests.support.paths import ROOT
from tests.unit.tasks.classifier.test_head import params, tokens

RECORD = {"views": 4}
FILES = ("adapter_config.json", "adapter_model.safetensors", "head.safetensors")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Changes with kept logits, the backbone they are merged into, and a newer head."""
    for name in ("shipped", "adapted", "trained"):
        (tmp_path / name).mkdir()
    for name in FILES:
        (tmp_path / "shipped" / name).write_text(f"old {name}")
    files = {name: sha256_file(tmp_path / "shipped" / name) for name in FILES}
    (tmp_path / "shipped/manifest.json").write_text(json.dumps({"files": files, "layers": [4, 6]}))
    (tmp_path / "shipped/calibration_logits.json").write_text(json.dumps({"head": files[FILES[2]], "rows": [1]}))
    (tmp_path / "adapted/manifest.json").write_text(json.dumps({"source": {"changes": files}}))
    (tmp_path / "trained/head.safetensors").write_text("new")
    (tmp_path / "others.json").write_text(json.dumps({"head": "another", "rows": [2]}))
    return tmp_path


def ship(project: Path, cross_fitted: str | None = None) -> dict[str, str]:
    logits = project / cross_fitted if cross_fitted else None
    folders = project / "trained", project / "adapted", project / "shipped"
    return ship_adapter_head(*folders, RECORD, cross_fitted=logits)


def test_the_head_and_its_record_ship(project: Path) -> None:
    digest = ship(project)["head"]
    shipped = project / "shipped"
    manifest = json.loads((shipped / "manifest.json").read_text())
    assert (shipped / "head.safetensors").read_text() == "new"
    assert (manifest["head"], manifest["layers"], manifest["files"]["head.safetensors"]) == (RECORD, [4, 6], digest)
    assert {name: sha256_file(shipped / name) for name in FILES} == manifest["files"]
    # those that were there are of the old head
    assert not (shipped / "calibration_logits.json").exists()


def test_cross_fitted_logits_go_by_the_digest_of_the_new_head(project: Path) -> None:
    digest = ship(project, "others.json")["head"]
    kept = json.loads((project / "shipped/calibration_logits.json").read_text())
    assert kept == {"head": digest, "rows": [2], "cross_fitted": True}


@pytest.mark.parametrize(
    ("damage", "cross_fitted", "message"),
    [
        (lambda at: (at / "trained/head.safetensors").unlink(), None, r"head\.safetensors: no such file"),
        # the features were of other changes, or of none
        (lambda at: (at / "shipped/adapter_model.safetensors").write_text("x"), None, "not with the changes of"),
        (lambda at: (at / "adapted/manifest.json").write_text('{"source": {}}'), None, "dvc repro adapt embed"),
        (lambda _: None, "nowhere.json", r"nowhere\.json: no such file; `python -m tasks\.train --keep-logits`"),
    ],
)
def test_what_does_not_belong_together_changes_nothing(
    project: Path, damage: Callable[[Path], object], cross_fitted: str | None, message: str
) -> None:
    damage(project)
    before = {one.name: one.read_bytes() for one in (project / "shipped").iterdir()}
    with pytest.raises(DataError, match=message):
        ship(project, cross_fitted)
    assert {one.name: one.read_bytes() for one in (project / "shipped").iterdir()} == before


def test_the_record_counts_pictures_by_source_and_label(tmp_path: Path) -> None:
    sources = ["rendered", "mine/a", "mine/a", "pasted/mine/a"]
    train = {"sha256": ["b", "a", "c", "d"], "label": [1, 0, 0, 1], "source": sources, "views": ["0"]}
    (tmp_path / "index.json").write_text(json.dumps({"splits": {"train": train}}))
    given = load_params(ROOT / "params.yaml").train
    record = training_record(given, tmp_path, Balance(0.5, {"mine": 2.0}, 0.5), heads=2, start_share=0.25)
    assert record["pictures"] == {"main source, roadwork": 1, "mine/a, clear": 2, "pasted, roadwork": 1}
    assert (record["views"], record["params"]["epochs"], record["params"]["heads"]) == (1, given.epochs, 2)


def test_without_features_there_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.json: no such file; `dvc repro embed`"):
        training_record(load_params(ROOT / "params.yaml").train, tmp_path, Balance(), heads=1, start_share=0.0)


CHOSEN = params(head="conv", hidden=8, epochs=30, average=1, learning_rate=0.02, tta_band=None)
SEEN = 17 * 6


def boxed(seed: int) -> SplitFeatures:
    """80 pictures of two sources, whose patches with works are known."""
    split = tokens(80, seed)
    return replace(split, source=["rendered", "rendered", "mine/a", "mine/b"] * 20)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Features of two sources, and a head to begin with."""
    torch.manual_seed(0)
    head = make_head(HeadShape.of_params(CHOSEN, SEEN, 6), CHOSEN).eval()
    head.standardize(torch.from_numpy(boxed(0).x[:, 0]), 80)
    monkeypatch.setattr(
        module, "read_features", lambda *_: ({"train": boxed(0), "calibration": boxed(1)}, {"channels": 6})
    )
    monkeypatch.setattr(module, "head_to_start_from", lambda *_: head)
    return head


def fitted(heads: int, start_share: float, chosen: TrainParams = CHOSEN) -> tuple[Head, dict[str, dict[str, float]]]:
    balance = Balance(0.5, {"mine": 1.0}, 0.5)
    return train_adapter_head(chosen, Path(), balance, Path(), heads=heads, start_share=start_share)


def test_what_ships_answers_with_the_mean_of_start_and_seeds(start: Any) -> None:
    x = boxed(2).x
    before = start.logits(x)
    both, scores = fitted(2, 0.25)
    second = CHOSEN.model_copy(update={"seed": CHOSEN.seed + 1})
    alone = [fitted(1, 0.0)[0].logits(x), fitted(1, 0.0, second)[0].logits(x)]
    assert not np.allclose(*alone)
    # the start itself was not trained
    assert np.array_equal(start.logits(x), before)
    np.testing.assert_allclose(both.logits(x), 0.25 * before + 0.375 * (alone[0] + alone[1]), atol=1e-4)
    assert both.shape.members == 3
    assert scores["main source"]["auc"] > 0.9
    assert scores["further sources"]["n"] == 40


def test_all_of_the_start_is_the_start(start: Any) -> None:
    x = boxed(2).x
    np.testing.assert_allclose(fitted(1, 1.0)[0].logits(x), start.logits(x), atol=1e-5)


@pytest.mark.parametrize("begin", [None, "linear"])  # random weights; a head without patches
def test_without_a_conv_head_to_begin_with_none_is_trained(
    start: Any, monkeypatch: pytest.MonkeyPatch, begin: str | None
) -> None:
    other = begin and make_head(HeadShape(begin, SEEN, 6, 4))
    monkeypatch.setattr(module, "head_to_start_from", lambda *_: other)
    with pytest.raises(DataError, match=r"train\.start"):
        fitted(1, 0.0)
