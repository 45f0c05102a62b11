"""What the report of a trained head says beside its scores, with heads that are really trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.classifier import train as module
from tasks.classifier.explain import last_inputs, source_shortcuts
from tasks.classifier.train import train_to_files
from tasks.common.files import read_json
from tasks.data.feature_store import SplitFeatures
from tests.unit.tasks.classifier.test_head import features, params

COMMON = {"channels": 1, "pooling": "statistics", "layers": [1], "size": 14}


def two_cameras(seed: int, lamp: float) -> SplitFeatures:
    """Two sources, three quarters of each with one label; one number of the features is the second's lamp."""
    random, plain = np.random.default_rng(seed), features(160, seed)
    source = np.where(random.random(160) < 0.75, plain.label, 1 - plain.label)
    plain.x[:, :, 5] += lamp * source[:, None]
    return replace(plain, source=["mine/b" if one else "mine/a" for one in source])


@pytest.mark.parametrize(
    ("lamp", "rate", "found", "better"),
    [
        (6.0, 0.02, True, "kept"),  # a camera that shows
        (0.0, 0.02, False, "kept"),
    ],
)
def test_both_stand_in_the_report(
    lamp: float, rate: float, *, found: bool, better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"train": two_cameras(0, lamp), "calibration": two_cameras(1, lamp)}
    monkeypatch.setattr(module, "read_features", lambda *_: (splits, COMMON))
    chosen = params(epochs=4, average=2, learning_rate=rate, tta_band=None, cut_resamples=10)
    train_to_files(chosen, tmp_path, tmp_path / "head", tmp_path / "reports", prior=0.5)
    report = read_json(tmp_path / "reports" / "metrics.json")
    for name in ("clear", "roadwork"):
        assert report["shortcut"][name]["found"] is found, report["shortcut"][name]
    weights = report["weights"]
    assert weights["views"] == 128
    # two epochs apart, so not the same weights
    assert weights["raw"]["log_loss"] != weights["averaged"]["log_loss"]
    assert better in weights["sentence"]


def test_one_source_has_nothing_to_tell() -> None:
    from tasks.classifier.head import HeadShape, make_head

    one = replace(features(), source=["rendered"] * 120)
    head = make_head(HeadShape("linear", 12, 1, 4))
    assert "one source (rendered)" in source_shortcuts(head, one, 0)["clear"]["skipped"]


@pytest.mark.parametrize(
    ("kind", "width", "channels", "inputs"),
    [
        ("linear", 12, 1, 12),  # the features as they come, standardized
        ("mlp", 12, 1, 6),  # hidden units
        ("conv", 15, 3, 2 * 6 + 3 + 1),  # two poolings of a patch's numbers, the class token and the best score
    ],
)
def test_what_the_last_layer_reads(kind: str, width: int, channels: int, inputs: int) -> None:
    from tasks.classifier.head import HeadShape, make_head

    head = make_head(HeadShape(kind, width, channels, 6, top_patches=2)).eval()
    x = np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)
    found = last_inputs(head, x)
    assert found.shape == (40, inputs)
    weight, bias = (tensor.detach().double().numpy() for tensor in head.last_layer.parameters())
    assert found @ weight[0] + bias == pytest.approx(head.logits(x), abs=1e-5)
    assert not head.last_layer._forward_pre_hooks
