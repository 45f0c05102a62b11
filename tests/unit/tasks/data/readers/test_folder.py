"""A folder of image files as a source of the pull."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from cascade.labelled.class_names import ClassNames
from tasks.data.readers import Rejected, read_path
from tasks.data.schema import DataError, ImageRow
from tests.support.drawn import encode, street


def put(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(street(seed)[0]))
    return folder


def read(folder: Path, classes: ClassNames | None = None) -> tuple[dict[str, int], dict[str, str]]:
    """Labels by name of what is read, reasons by name of what is not."""
    rows = list(read_path(folder, classes or ClassNames()))
    reasons = {row.name: row.reason for row in rows if isinstance(row, Rejected)}
    return {row.name: row.label for row in rows if isinstance(row, ImageRow)}, reasons


def test_pictures_by_content_and_links(tmp_path: Path) -> None:
    drive = put(tmp_path / "x", "drive/a.jpg").rename(tmp_path / "elsewhere") / "drive"
    folder = put(tmp_path / "set", "roadworks/a", "roadworks/b.heic", "clear/c.jfif")
    (folder / "clear" / "drive1").symlink_to(drive)
    os.mkfifo(folder / "clear" / "x.jpg")
    (folder / "clear" / "._c.jfif").write_bytes(b"Mac OS X")
    (folder / "clear" / "y.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    assert read(folder) == (
        {"roadworks/a": 1, "roadworks/b.heic": 1, "clear/c.jfif": 0, "clear/drive1/a.jpg": 0},
        {"clear/x.jpg": "unreadable", "clear/y.heic": "unsupported"},
    )


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    folder = put(tmp_path, "clear/a.jpg", "roadwork/b.jpg")
    (folder / "clear" / "a.jpg").rename(folder / "clear" / os.fsdecode(b"stra\xdfe.jpg"))
    labels, _ = read(folder)
    assert labels == {r"clear/stra\xdfe.jpg": 0, "roadwork/b.jpg": 1}
    assert all(name.encode() for name in labels)


def test_names_of_classes_come_from_the_settings(tmp_path: Path) -> None:
    folder = put(tmp_path, "baustelle/a.jpg", "frei/b.jpg")
    with pytest.raises(DataError, match="it has baustelle/, frei/"):
        read_path(folder)
    assert read(folder, ClassNames(["baustelle"], ["frei"]))[0] == {"baustelle/a.jpg": 1, "frei/b.jpg": 0}


def test_a_folder_a_split(tmp_path: Path) -> None:
    names = [
        f"{split}/{label}/{n}.jpg" for split in ("train", "test") for label in ("clear", "roadwork") for n in range(9)
    ]
    rows = [row for row in read_path(put(tmp_path, *names)) if isinstance(row, ImageRow)]
    assert {row.name for row in rows if row.split == "challenge"} == {name for name in names if name.startswith("test")}
    # no folder is named after calibration, so that train is divided
    assert {row.split for row in rows if row.name.startswith("train")} == {"train", "calibration", "pool"}
    # the challenge set is read first: a picture that lies in both stays where it is measured
    assert rows[0].split == "challenge"


def test_groups_of_a_manifest_stay_together(tmp_path: Path) -> None:
    names = [f"{drive}_{frame}.jpg" for drive in range(12) for frame in range(3)]
    lines = [f"{name},{index % 2},drive {name.split('_')[0]}" for index, name in enumerate(names)]
    (put(tmp_path, *names) / "manifest.csv").write_text("\n".join(["file,label,group", *lines]))
    rows = [row for row in read_path(tmp_path) if isinstance(row, ImageRow)]
    assert len({(row.place, row.split) for row in rows}) == 12
    counts = Counter((row.split, row.label) for row in rows)
    assert all(counts[split, label] for split in ("train", "calibration", "challenge") for label in (0, 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file,label\na.jpg,1\n".encode("utf-16"), r"manifest\.csv, line 1: the file is UTF-16"),
        (b"file,label\na\xe4.jpg,1\n", r"manifest\.csv, line 2: byte 0xe4 is not UTF-8"),
    ],
)
def test_a_manifest_in_another_encoding_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (put(tmp_path, "a.jpg") / "manifest.csv").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_path(tmp_path)


def test_a_bad_row_goes_to_quarantine_with_its_line(tmp_path: Path) -> None:
    (put(tmp_path, "a.jpg", "b.jpg") / "manifest.csv").write_bytes(
        b"\xef\xbb\xbffile,label\na.jpg,1\nb.jpg\nb.jpg,0\ngone.jpg,0\n"
    )
    rows = list(read_path(tmp_path))
    assert [row.name for row in rows if isinstance(row, ImageRow)] == ["a.jpg", "b.jpg"]
    rejected = [row for row in rows if isinstance(row, Rejected)]
    assert [(row.source.split(", ")[1], row.reason) for row in rejected] == [
        ("line 3", "bad_label"),
        ("line 5", "missing"),
    ]
