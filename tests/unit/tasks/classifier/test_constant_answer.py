"""A head is held against always giving the same label, and `export` refuses one that is no better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.classifier.calibrate import calibrate
from tasks.classifier.train import train_classifier
from tasks.classifier.trained import TrainedClassifier
from tasks.common.files import read_json, write_json
from tasks.data.feature_store import SplitFeatures
from tasks.data.schema import DataError
from tasks.optimize.export import _read_head
from tasks.training.balance import Balance
from tests.unit.tasks.classifier.test_head import params

COMMON = {"pooling": "statistics", "layers": [2], "size": 224}
CONSTANT = {"accuracy": 0.5, "mcc": 0.0, "reward": 0.015625}


def features(told: float, share: float = 0.8, count: int = 200, seed: int = 0) -> SplitFeatures:
    """Random pictures, `share` of them roadwork; the first number tells it by `told` standard deviations."""
    random = np.random.default_rng(seed)
    label = (np.arange(count) < share * count).astype(np.int64)
    x = random.normal(size=(count, 2, 12)).astype(np.float32)
    x[:, :, 0] += told * label[:, None]
    names = [f"{number}" for number in range(count)]
    return SplitFeatures(x, label, [f"p{number // 4}" for number in range(count)], names, ["0.0", "1.0"])


def trained(*, told: float, prior: float | None = 0.5, zeros: bool = False) -> TrainedClassifier:
    """A linear head, or one of zeros, with all that is fitted after it."""
    settings = {"head": "linear", "tta_band": None, "cut_resamples": 20}
    splits = {"train": features(told), "calibration": features(told, seed=1)}
    if not zeros:
        return train_classifier(splits, params(epochs=20, learning_rate=0.02, **settings), 1, None, Balance(prior))
    from tasks.classifier.head import HeadShape, make_head

    head = make_head(HeadShape.of_params(params(**settings), 12, 1))
    for weight in head.parameters():
        weight.data.zero_()
    return calibrate(head, splits, params(**settings), Balance(prior))


def test_a_head_of_zeros_is_refused(tmp_path: Path) -> None:
    trained(told=3.0, zeros=True).save(tmp_path / "head", params(), COMMON)
    with pytest.raises(DataError) as refused:
        _read_head(tmp_path / "head")
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{tmp_path / 'head' / 'head.json'}: reward 0.0156 on the calibration split (prior 0.5)")
    assert "not above the 0.0156 of always giving the same label" in line


def test_a_head_that_knows_something_is_not(tmp_path: Path) -> None:
    trained(told=3.0).save(tmp_path / "head", params(), COMMON)
    document = _read_head(tmp_path / "head")
    assert document["calibrated"]["reward"] > 0.3
    assert (document["constant"], document["prior"]) == (CONSTANT, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # as good is not better
        ({"calibrated": {"reward": 0.015625}}, "not above the 0.0156"),
        ({"calibrated": {"reward": float("nan")}}, "reward nan"),
        # written before there was a prior
        ({"calibrated": None, "constant": None}, "has no calibrated and no constant; `dvc repro train` writes another"),
    ],
)
def test_what_cannot_be_shown_to_be_better_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    document = {"prior": 0.5, "calibrated": {"reward": 0.9}, "constant": CONSTANT, **changes}
    written = {name: value for name, value in document.items() if value is not None}
    (tmp_path / "head.json").write_text(json.dumps(written))
    with pytest.raises(DataError, match=message):
        _read_head(tmp_path)


def test_the_report_is_for_the_prior_and_has_the_constant_answer_beside_it(tmp_path: Path) -> None:
    found = trained(told=1.0).metrics(features(1.0))
    own = trained(told=1.0, prior=None).metrics(features(1.0))
    assert (found["prior"], found["constant"]) == (0.5, CONSTANT)
    assert own["prior"] is None
    assert own["constant"] == {"accuracy": pytest.approx(0.8), "mcc": 0.0, "reward": pytest.approx(0.064)}
    # accuracy on four fifths roadwork flatters a head that is unsure
    assert found["accuracy"] < own["accuracy"]
    write_json(tmp_path / "metrics.json", found)
    assert read_json(tmp_path / "metrics.json")["constant"] == CONSTANT


def test_the_loss_is_for_the_prior() -> None:
    """Untold pictures are answered with the share of roadwork in the loss, before anything is calibrated."""
    from tasks.classifier.fit import fit_head

    chosen = params(head="linear", epochs=30, learning_rate=0.05, gamma=0.0, label_smoothing=0.0)
    means = {
        prior: float(
            np.mean(
                fit_head(features(0.0), chosen, lambda _: None, balance=Balance(prior)).logits(features(0.0, seed=1).x)
            )
        )
        for prior in (0.5, None)
    }
    assert means[0.5] == pytest.approx(0, abs=0.35)
    # the log-odds of a share of 0.8
    assert means[None] == pytest.approx(1.39, abs=0.35)


def test_a_balanced_set_is_learnt_as_before() -> None:
    from tasks.classifier.fit import fit_head

    chosen = params(head="linear", epochs=3)
    heads = [
        fit_head(features(1.0, share=0.5), chosen, lambda _: None, balance=Balance(prior)) for prior in (0.5, None)
    ]
    one, two = (head.state_dict()["layers.0.weight"].numpy() for head in heads)
    assert np.array_equal(one, two)
