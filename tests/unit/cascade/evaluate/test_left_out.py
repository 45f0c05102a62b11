"""What `evaluate` does not score is listed and counted, and gives exit code 1; nothing makes it wait."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cascade import cli
from cascade.evaluate.folder import FolderError, read_folder
from tests.support import tiny
from tests.support.paths import ROOT

HEIC = b"\0\0\0\x18ftypheic" + bytes(64)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_release(tmp_path_factory.mktemp("release")).folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two readable pictures, and the working directory of a user."""
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    for name, top in (("roadwork", tiny.ORANGE), ("clear", tiny.BLUE)):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.jpg").write_bytes(tiny.encoded(tiny.street(top)))
    return tmp_path / "set"


def write(name: str, data: bytes) -> Callable[[Path], object]:
    def put(folder: Path) -> object:
        (folder / name).parent.mkdir(exist_ok=True)
        return (folder / name).write_bytes(data)

    return put


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("put", "message", "left_out"),
    [
        (write("clear/x.heic", HEIC), "a picture in the format HEIC; convert it to JPEG or PNG", 1),
        (write("clear/x.jpg", HEIC), "a picture in the format HEIC", 1),
        (write("clear/x.tif", b"II*\0" + bytes(64)), "a picture in the format TIFF", 1),
        (write("clear/x.avif", b"\0\0\0\x1cftypavif" + bytes(64)), "a picture in the format AVIF", 1),
        (write("clear/x", b""), "the file is empty", 1),
        (write("clear/x.jpg", b"no picture"), "not an image", 1),
        (write("unsure/x.jpg", tiny.encoded(tiny.street(tiny.BLUE))), "'unsure' is the name of no class", 1),
        (lambda folder: os.mkfifo(folder / "clear" / "x.jpg"), "a named pipe, not a file", 1),
        (lambda folder: (folder / "clear" / "x").symlink_to(folder), "a link to a folder above it", 1),
        # pictures under other names are pictures
        (write("clear/x.jfif", tiny.encoded(tiny.street(tiny.BLUE))), "", 0),
        (write("clear/x", tiny.encoded(tiny.street(tiny.BLUE))), "", 0),
        # and what systems and annotators leave is no fault
        (write("clear/._x.jpg", b"Mac OS X"), "", 0),
        (write("clear/Thumbs.db", b"x"), "", 0),
        (write("clear/x.xml", b"<annotation/>"), "", 0),
    ],
)
def test_left_out(folder: Path, release: Path, put: Callable[[Path], object], message: str, left_out: int) -> None:
    put(folder)
    done = CliRunner().invoke(cli.app, ["evaluate", str(folder), "--release", str(release), "--json"])
    assert done.exit_code == left_out, done.output
    report = json.loads(done.stdout)
    assert len(report["skipped"]) == left_out
    assert report["metrics"]["n"] >= 2
    assert message in done.stderr
    assert (f"left out: {left_out} of 3" in done.stderr) == bool(left_out)


def test_a_linked_drive_is_scored(folder: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "b.jpg").write_bytes(tiny.encoded(tiny.street(tiny.BLUE)))
    (folder / "clear" / "drive1").symlink_to(drive)
    assert [one.group for one in read_folder(folder)] == ["clear/a.jpg", "clear/drive1/b.jpg", "roadwork/a.jpg"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("file,label\nclear/a.jpg,0\n".encode("utf-16"), "line 1: the file is UTF-16"),
        (b"file,label\nclear/stra\xdfe.jpg,0\n", "line 2: byte 0xdf is not UTF-8"),
        (b"file,label,group\nclear/a.jpg,0,x\nclear/a.jpg,0\n", "line 3: the row is short: 2 of 3 columns"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_one_line(folder: Path, manifest: bytes, message: str) -> None:
    (folder / "manifest.csv").write_bytes(manifest)
    with pytest.raises(FolderError, match=message):
        read_folder(folder)
    done = CliRunner().invoke(cli.app, ["evaluate", str(folder)])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_manifest_with_a_byte_order_mark_is_read(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes("\ufefffile;label;group\nclear/a.jpg;0;drive\n".encode())
    assert [(one.label, one.group) for one in read_folder(folder)] == [(0, "drive")]
