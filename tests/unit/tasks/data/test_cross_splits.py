"""Near-duplicates across splits: of splits that the source made they are refused, of ours they go to quarantine."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tasks.common.files import read_json
from tasks.config import PullParams
from tasks.data.pull import build
from tasks.data.readers import read_path
from tasks.data.schema import SPLITS, DataError, ImageRow, read_records, split_file
from tests.support.doctor import sound_rows
from tests.support.drawn import dataset, encode, row
from tests.support.natix import frame, write_natix, write_shards

PARAMS = PullParams.model_validate(
    {
        "backbone": {"source": "wheel", "repo": "x"},
        "data": {"source": "sample", "repo": "x"},
        "max_pixels": 4_000_000,
        "min_side": 32,
        "near_duplicate_bits": 4,
    }
)


def copy_of(original: ImageRow, split: str, *, chosen: bool) -> ImageRow:
    """The same picture, saved once more."""
    data = encode(Image.open(io.BytesIO(original.data)), quality=50)
    return replace(row(9000, original.label, split, data=data), name="copy.jpg", chosen=chosen)


def kept(folder: Path) -> dict[str, str]:
    return {record["image"]["path"]: split for split in SPLITS for record in read_records(split_file(folder, split))}


@pytest.mark.parametrize(
    ("original", "first_chosen", "second", "second_chosen", "gone"),
    [
        # challenge is the source's, train is ours
        ("challenge", False, "train", True, "copy.jpg"),
        # the other way round: what is ours goes, whichever came first
        ("train", True, "challenge", False, "original"),
        # both ours: the one that is learned from goes
        ("train", True, "calibration", True, "original"),
        ("calibration", True, "train", True, "copy.jpg"),
        ("train", True, "pool", True, "copy.jpg"),
        # neither is: nobody but the owner can say
        ("challenge", False, "train", False, None),
    ],
)
def test_which_of_two_goes(
    tmp_path: Path, original: str, first_chosen: bool, second: str, second_chosen: bool, gone: str | None
) -> None:
    rows = [replace(one, chosen=first_chosen and one.split == original) for one in dataset()]
    first = next(one for one in rows if one.split == original)
    rows.append(copy_of(first, second, chosen=second_chosen))
    if gone is None:
        with pytest.raises(DataError, match="1 near-duplicates across splits"):
            build(rows, PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")
        return
    counts = build(rows, PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")
    name = first.name if gone == "original" else gone
    assert counts["reasons"] == {"near_duplicate": 1}
    there = kept(tmp_path / "pulled")
    assert name not in there
    assert len(there) == len(rows) - 1
    assert sum(counts[split][label] for split in SPLITS for label in ("roadwork", "none")) == len(rows) - 1
    (listed,) = csv.DictReader(io.StringIO((tmp_path / "pulled" / "quarantine.csv").read_text()))
    assert listed["name"] == name
    assert listed["detail"].startswith("the same picture as ")


def test_a_copy_of_natix_is_pulled(tmp_path: Path) -> None:
    folder = write_natix(tmp_path / "natix")
    counts = build(read_path(folder), PARAMS, tmp_path / "pulled", tmp_path / "reports" / "metrics.json")
    assert counts["quarantined"] == 0
    assert counts["challenge"] == {"roadwork": 24, "none": 6, "places": 6}
    assert sum(counts[split]["places"] for split in SPLITS) == 30
    report = read_json(tmp_path / "reports" / "doctor.json")
    assert report["roadwork_share"] == pytest.approx(0.8)
    assert {"prior", "order"} <= {one["check"] for one in report["findings"]}
    assert "warning, prior" in (tmp_path / "reports" / "doctor.md").read_text()


def test_a_picture_of_test_that_lies_in_train_under_another_drive_goes(tmp_path: Path) -> None:
    folder = write_natix(tmp_path / "natix")
    test = frame(5000, 1, "test_1000")
    picture = Image.open(io.BytesIO(test["image"]["bytes"]))
    again = frame(7000, 1, "elsewhere", image={"bytes": encode(picture, quality=50), "path": "again.jpg"})
    write_shards(folder, "train-more", [again], 1)
    counts = build(read_path(folder), PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")
    assert counts["reasons"] == {"near_duplicate": 1}
    assert "again.jpg" not in kept(tmp_path / "pulled")


def test_the_sheet_of_a_sound_set_is_taken_away(tmp_path: Path) -> None:
    rows = sound_rows()
    twin = row(6000, 1, "train", data=encode(Image.open(io.BytesIO(rows[3].data)), quality=50))
    build([*rows, twin], PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")
    assert Image.open(tmp_path / "doctor.jpg").format == "JPEG"
    build(rows, PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")
    assert not (tmp_path / "doctor.jpg").exists()
    assert read_json(tmp_path / "doctor.json")["sound"]
