"""Labelled folders: what is labelled how, and that nothing is lost without a word."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cascade.labelled.class_names import ClassNames
from cascade.labelled.files import FolderError
from cascade.labelled.folder import read_labelled
from tests.support.drawn import encode, street

JPEG = encode(street(1)[0])


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(JPEG)
    return folder


def test_folders_by_their_names(tmp_path: Path) -> None:
    put(tmp_path, "roadworks/a.jpg", "No-Roadwork/b.jpg", "1/c", "clear/deep/er/d.jfif")
    found = read_labelled(tmp_path)
    assert {file.name: file.label for file in found.files} == {
        "roadworks/a.jpg": 1, "No-Roadwork/b.jpg": 0, "1/c": 1, "clear/deep/er/d.jfif": 0,
    }  # fmt: skip
    assert found.left_out == []


def test_what_has_no_label_is_listed_with_a_count(tmp_path: Path) -> None:
    put(tmp_path, "roadwork/a.jpg", "clear/b.jpg", "unsure/c.jpg", "unsure/deep/d.jpg", "e.jpg", "maybe/.DS_Store")
    (tmp_path / "notes.txt").write_text("x")
    messages = [one.message for one in read_labelled(tmp_path).left_out]
    assert len(messages) == 2
    assert messages[0].startswith(f"{tmp_path / 'unsure'}: 2 pictures: 'unsure' is the name of no class")
    assert messages[1] == f"{tmp_path}: 1 pictures beside the class folders have no label"


def test_names_of_the_user(tmp_path: Path) -> None:
    put(tmp_path, "baustelle/a.jpg", "frei/b.jpg", "unsure/c.jpg")
    names = ClassNames(roadwork=["Baustelle"], clear=["frei"], left_out=["unsure"])
    found = read_labelled(tmp_path, names)
    assert {file.name: file.label for file in found.files} == {"baustelle/a.jpg": 1, "frei/b.jpg": 0}
    assert "left out by name" in found.left_out[0].detail


@pytest.mark.parametrize(
    ("names", "message"),
    [
        # what is there is named
        (["baustelle/a.jpg", "frei/b.jpg"], r"expected manifest\.csv, or subfolders .*; it has baustelle/, frei/$"),
        # a data set in splits
        (["test/clear/a.jpg", "train/clear/b.jpg"], r"it has test/, train/; give one of them, as .*/test$"),
        ([f"{n}/a.jpg" for n in "abcdefghij"], r"it has a/, .*h/ and others$"),
        (["a.jpg"], r"no labelled images; expected manifest\.csv, or subfolders roadwork/ and clear/$"),
    ],
)
def test_a_folder_without_classes_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(FolderError, match=message):
        read_labelled(put(tmp_path, *names))


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    drive = put(tmp_path / "elsewhere", "a.jpg").rename(tmp_path / "drive")
    put(tmp_path / "set", "roadwork/b.jpg", "clear/c.jpg")
    (tmp_path / "set" / "clear" / "drive1").symlink_to(drive)
    (tmp_path / "set" / "none").symlink_to(drive)
    found = read_labelled(tmp_path / "set")
    assert {file.name: file.label for file in found.files} == {
        "roadwork/b.jpg": 1, "clear/c.jpg": 0, "clear/drive1/a.jpg": 0, "none/a.jpg": 0,
    }  # fmt: skip


def test_a_link_up_does_not_give_the_other_class_its_label(tmp_path: Path) -> None:
    put(tmp_path, "roadwork/a.jpg", "clear/b.jpg")
    (tmp_path / "clear" / "all").symlink_to(tmp_path)
    found = read_labelled(tmp_path)
    assert {file.name: file.label for file in found.files} == {"roadwork/a.jpg": 1, "clear/b.jpg": 0}
    assert [one.reason for one in found.left_out] == ["link"]


def test_manifest_rows(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "sub/b.jpg", "c.heic")
    os.mkfifo(tmp_path / "pipe.jpg")
    lines = [
        "file,label,group,time", "a.jpg,Roadworks,drive,night", "sub\\b.jpg,0,,", "gone.jpg,1,,", "a.jpg,maybe,,",
        "pipe.jpg,1,,", "a.jpg,1", ",1,,", "a.jpg",
    ]  # fmt: skip
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    found = read_labelled(tmp_path)
    assert [(file.name, file.label, file.group, file.cells) for file in found.files] == [
        ("a.jpg", 1, "drive", {"time": "night"}),
        ("sub\\b.jpg", 0, "", {"time": ""}),
    ]
    assert found.files[1].path.is_file()
    manifest = tmp_path / "manifest.csv"
    expected = [
        "4: .*no such file",
        "5: label 'maybe' is none of",
        "6: .*a named pipe, not a file",
        "7: the row is short",
    ]
    expected += ["8: the cell `file` is empty", "9: label '' is none of .*the row is short: 1 of 4"]
    for one, what in zip(found.left_out, expected, strict=True):
        assert re.match(f"{manifest}, line {what}", one.message), one.message
