"""Photographs whose logits ship with the adapter: scaling, cut and exits are fitted on them too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.classifier.calibrate import CalibrationLogits, calibrate
from tasks.classifier.kept_logits import read_kept_logits, write_logits
from tasks.data.schema import DataError
from tasks.training.balance import Balance
from tests.unit.tasks.classifier.test_constant_answer import features
from tests.unit.tasks.classifier.test_head import params

FILE = "calibration_logits.json"
FITTED = {"head": "linear", "tta_band": None, "cut_resamples": 20}


def photographs(*, offset: float = 0.0, count: int = 120, source: str = "mine/phone") -> CalibrationLogits:
    """Logits that tell roadwork by their sign once `offset` is taken off."""
    random = np.random.default_rng(3)
    label = np.arange(count) % 2
    logit = offset + np.where(label == 1, 2.0, -2.0) + random.normal(size=count)
    places = [f"p{number}" for number in range(count)]
    augmented = np.stack([logit - 1, logit + 1], axis=1)
    return CalibrationLogits(logit, augmented, label, places, [source] * count, ("mirrored", "shifted"))


def adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "head.safetensors").write_bytes(b"weights")
    return folder


def test_they_come_back_as_they_were_kept(tmp_path: Path) -> None:
    rows, folder = photographs().joined(photographs(source="rendered")), adapter(tmp_path / "adapter")
    assert write_logits(rows, {"mine"}, folder) == 120
    kept = read_kept_logits(folder)
    assert kept is not None
    assert np.abs(kept.logit - rows.logit[:120]).max() < 1e-4
    assert set(kept.source) == {"photographs/phone"}
    assert kept.kinds == ("mirrored", "shifted")
    assert np.abs(kept.augmented - rows.augmented[:120]).max() < 1e-4
    # no picture, name of a file or digest of one
    assert set(json.loads((folder / "calibration_logits.json").read_text())["rows"][0]) == {
        *("source", "place", "label", "logit", "augmented")
    }


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_kept_logits(tmp_path) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        # a head that went on
        (lambda folder: (folder / "head.safetensors").write_bytes(b"other"), "of another head"),
        # half of a file
        (lambda folder: (folder / FILE).write_text('{"head"'), "damaged"),
        # a row without its label
        (
            lambda folder: (folder / FILE).write_text('{"head": "", "rows": [{"logit": 1}]}'),
            "damaged",
        ),
        # a list
        (lambda folder: (folder / FILE).write_text("[]"), "damaged"),
    ],
)
def test_a_file_that_says_nothing_of_this_head_is_refused(spoil: object, message: str, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter")
    write_logits(photographs(), {"mine"}, folder)
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(DataError, match=rf"calibration_logits\.json: .*{message}"):
        read_kept_logits(folder)


def test_views_of_the_wanted_kinds_alone_count() -> None:
    rows = photographs()
    assert (rows.only(("shifted",)).augmented[:, 0] == rows.logit + 1).all()
    joined = rows.only(("shifted",)).joined(rows)
    assert (joined.augmented[:, 0] == joined.logit + 1).all()
    assert rows.only(()).augmented.shape == (120, 0)


def test_views_that_were_not_kept_are_named() -> None:
    rows = photographs()
    with pytest.raises(DataError, match=r"no mirrored views, which embed\.tta_views asks for"):
        rows.joined(rows.only(("shifted",)))


def test_no_further_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures of a further source; pull\.beside"):
        write_logits(photographs(source="rendered"), {"mine"}, adapter(tmp_path / "adapter"))


def test_the_cut_moves_towards_them() -> None:
    """Photographs that are all called roadwork at the cut of the calibration split pull it up."""
    from tasks.classifier.head import HeadShape, make_head

    shape, splits = HeadShape.of_params(params(**FITTED), 12, 1), {"calibration": features(6.0, share=0.5, seed=1)}
    head = make_head(shape)
    for name, weight in head.named_parameters():
        weight.data.zero_()
        if name.endswith("weight"):
            weight.data[0, 0] = 1.0
    alone = calibrate(head, splits, params(**FITTED), Balance(0.5))
    kept = photographs(offset=4.5)
    both = calibrate(head, splits, params(**FITTED), Balance(0.5), kept)
    wrong = [np.mean((one.calibration(kept.logit) > 0.5) != kept.label) for one in (alone, both)]
    assert wrong[0] > 0.1
    assert wrong[1] < wrong[0] / 2
    # figures stay those of the calibration split
    assert len(both.p) == len(alone.p)
