"""What a pull keeps, what it lists in quarantine, and what it refuses."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.common.files import read_json, sha256_file
from tasks.config import PullParams
from tasks.data.pull import build
from tasks.data.readers.splits import SHARES, split_of_place
from tasks.data.schema import DataError, ImageRow, read_records, split_file
from tests.support import bad_images
from tests.support.drawn import dataset, encode, row, street

PARAMS = PullParams.model_validate(
    {
        "backbone": {"source": "wheel", "repo": "x"},
        "data": {"source": "sample", "repo": "x"},
        "max_pixels": 4_000_000,
        "min_side": 32,
        "near_duplicate_bits": 4,
    }
)


Pull = Callable[[list[ImageRow]], dict[str, Any]]


@pytest.fixture
def pull(tmp_path: Path) -> Pull:
    return lambda rows: build(rows, PARAMS, tmp_path / "pulled", tmp_path / "metrics.json")


def bomb() -> bytes:
    # a PNG whose header promises 30000 x 30000
    data = bytearray(encode(Image.new("L", (40, 40)), "PNG"))
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def animation() -> bytes:
    frames = [street(seed)[0] for seed in (1, 2)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


PICTURE = encode(street(77)[0])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not_an_image"),
        (PICTURE[: len(PICTURE) // 2], "truncated"),
        (bomb(), "too_large"),
        (encode(Image.new("RGB", (1, 1)), "PNG"), "too_small"),
        (animation(), "animated"),
    ],
)
def test_bad_picture_goes_to_quarantine(pull: Pull, tmp_path: Path, data: bytes, reason: str) -> None:
    counts = pull([*dataset(), row(5000, 1, "train", data=data)])
    with (tmp_path / "pulled" / "quarantine.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [(item["name"], item["reason"]) for item in listed] == [("5000.jpg", reason)]
    assert listed[0]["detail"]
    assert counts["quarantined"] == 1
    assert counts["train"]["roadwork"] + counts["train"]["none"] == 16


@pytest.mark.parametrize(
    "data",
    [
        encode(street(78)[0].convert("CMYK"), "JPEG"),
        encode(Image.fromarray(np.random.default_rng(1).integers(0, 65535, (64, 64), dtype=np.uint16)), "PNG"),
        encode(street(79)[0], "JPEG", exif=turned()),
        encode(street(80)[0].convert("P"), "PNG"),
    ],
    ids=["cmyk", "16 bit", "rotated", "palette"],
)  # fmt: skip
def test_odd_but_sound_pictures_are_kept(pull: Pull, data: bytes) -> None:
    counts = pull([*dataset(), row(5000, 1, "train", data=data)])
    assert counts["quarantined"] == 0
    assert counts["train"]["roadwork"] == 9


@pytest.mark.parametrize("name", bad_images.ODD)
def test_pictures_from_the_field_are_kept(pull: Pull, name: str) -> None:
    assert pull([*dataset(), row(5000, 1, "train", data=bad_images.ODD[name][0])])["quarantined"] == 0


@pytest.mark.parametrize(
    ("data", "reason"), [(bad_images.many_scans(), "too_many_scans"), (bad_images.slow_bitmap(), "too_slow")]
)
def test_a_picture_made_to_take_for_ever_is_one_row_in_quarantine(tmp_path: Path, data: bytes, reason: str) -> None:
    params = PARAMS.model_copy(update={"max_pixels": 50_000_000})
    counts = build([*dataset(), row(5000, 1, "train", data=data)], params, tmp_path / "pulled", tmp_path / "m.json")
    assert counts["reasons"] == {reason: 1}
    assert counts["train"]["roadwork"] + counts["train"]["none"] == 16


def test_exact_duplicates_are_counted_and_go(pull: Pull, tmp_path: Path) -> None:
    rows = dataset()
    copy = replace(rows[0], name="copy.jpg", place="elsewhere", split="challenge")
    counts = pull([*rows, copy, rows[1]])
    assert counts["duplicates"] == 2
    kept = [item["sha256"] for split in SHARES for item in read_records(split_file(tmp_path / "pulled", split))]
    assert len(kept) == len(set(kept)) == len(rows)


def test_same_bytes_with_both_labels_are_reported(pull: Pull) -> None:
    rows = dataset()
    counts = pull([*rows, replace(rows[0], label=1 - rows[0].label, place="elsewhere")])
    assert counts["reasons"] == {"conflicting_label": 1}


def test_near_duplicates_across_splits_name_the_pair_and_keep_the_old_data(pull: Pull, tmp_path: Path) -> None:
    pull(dataset())
    before = sha256_file(tmp_path / "pulled" / "manifest.json")
    image = Image.open(io.BytesIO(dataset()[3].data))
    copy = row(6000, 1, "challenge", data=encode(image, quality=50))
    with pytest.raises(DataError, match=r"1 near-duplicates.*\n.*train: 3\.jpg.*challenge: 6000\.jpg"):
        pull([*dataset(), copy])
    assert sha256_file(tmp_path / "pulled" / "manifest.json") == before


def test_near_duplicates_within_a_split_are_fine(pull: Pull) -> None:
    image = Image.open(io.BytesIO(dataset()[3].data))
    assert pull([*dataset(), row(6000, 1, "train", data=encode(image, quality=50))])["train"]["roadwork"] == 9


def test_a_place_in_two_splits_is_refused(pull: Pull) -> None:
    rows = dataset()
    with pytest.raises(DataError, match=r"place 'place-0' lies in train and in challenge"):
        pull([*rows, row(7000, 1, "challenge", place="place-0")])


@pytest.mark.parametrize("split", ["train", "calibration", "challenge"])
def test_a_split_of_one_class_is_refused(pull: Pull, split: str) -> None:
    rows = [item for item in dataset() if item.split != split or item.label == 1]
    with pytest.raises(DataError, match=f"split {split} has .* and 0 clear"):
        pull(rows)


def test_nothing_usable_tells_why(pull: Pull) -> None:
    with pytest.raises(
        DataError, match=r"it needs both \(1 rows were unusable, the first: 1\.jpg: the file is empty\)"
    ):
        pull([row(1, 1, data=b"")])


def test_rows_come_back_with_boxes_and_slices(pull: Pull, tmp_path: Path) -> None:
    rows = dataset()
    pull(rows)
    found = {item["sha256"]: item for split in SHARES for item in read_records(split_file(tmp_path / "pulled", split))}
    for item in rows:
        assert found[item.sha256] == item.to_record()


def test_twice_gives_the_same_bytes(pull: Pull, tmp_path: Path) -> None:
    pull(dataset())
    first = {path.name: path.read_bytes() for path in (tmp_path / "pulled").iterdir()}
    pull(dataset())
    assert {path.name: path.read_bytes() for path in (tmp_path / "pulled").iterdir()} == first
    manifest = read_json(tmp_path / "pulled" / "manifest.json")
    assert manifest["files"] == {
        name: sha256_file(tmp_path / "pulled" / name) for name in sorted(first) if name != "manifest.json"
    }


@given(st.text(min_size=1))
def test_split_of_place_depends_on_the_place_alone(place: str) -> None:
    assert split_of_place(place) == split_of_place(place)
    assert split_of_place(place) in SHARES


def test_shares_of_places() -> None:
    chosen = [split_of_place(f"street {number}") for number in range(4000)]
    for split, share in SHARES.items():
        assert chosen.count(split) / len(chosen) == pytest.approx(share, abs=0.03)
