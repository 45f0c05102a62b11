"""Files by content: what cameras, phones and systems put into a folder, and what must never be opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from cascade.labelled.files import find_pictures, picture_format, printable
from tests.support.drawn import encode, street

JPEG = encode(street(1)[0])
PNG = encode(street(1)[0], "PNG")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def found(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the pictures, and name to reason of what is left out."""
    result = find_pictures(folder)
    reasons = {one.path.relative_to(folder).as_posix(): one.reason for one in result.left_out}
    return [path.relative_to(folder).as_posix() for path in result.pictures], reasons


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jpg", JPEG),
        ("a.JPEG", JPEG),
        # names that browsers, Windows and Android give a JPEG
        ("a.jfif", JPEG),
        ("a.jpe", JPEG),
        # and without any
        ("frame0001", JPEG),
        # a suffix that lies
        ("a.heic", JPEG),
        ("a.tif", PNG),
        ("a.dat", PNG),
        ("a.webp", encode(street(1)[0], "WEBP")),
        ("a.gif", encode(street(1)[0], "GIF")),
        ("a.bmp", encode(street(1)[0], "BMP")),
        # calls itself a picture: the decoder says what is wrong with it
        ("a.jpg", b"hello"),
        ("a.png", b""),
    ],
)
def test_a_picture_by_content_or_suffix(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert found(tmp_path) == ([name], {})


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        # formats that the decoder does not read, whatever their suffix
        ("a.heic", HEIC, "unsupported"),
        ("a.jpg", HEIC, "unsupported"),
        ("a.avif", b"\0\0\0\x1cftypavif" + bytes(40), "unsupported"),
        ("a.tif", encode(Image.new("RGB", (40, 40)), "TIFF"), "unsupported"),
        ("a", b"MM\0*" + bytes(40), "unsupported"),
        ("a.jxl", b"\xff\x0a" + bytes(40), "unsupported"),
        # no picture at all
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(40), "clip"),
        ("a.zip", b"PK\x03\x04" + bytes(40), "not_an_image"),
        ("a", b"", "empty"),
    ],
)
def test_what_is_left_out_has_a_reason(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert found(tmp_path) == ([], {name: reason})


@pytest.mark.parametrize("name", ["._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._a.jpg", ".git/a.jpg"])
def test_files_of_the_system_are_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(JPEG)
    assert found(tmp_path) == ([], {})


def test_annotations_are_no_pictures_and_no_fault(tmp_path: Path) -> None:
    for name in ("a.xml", "a.txt", "labels.JSON"):
        (tmp_path / name).write_text("x")
    assert found(tmp_path) == ([], {})
    assert len(find_pictures(tmp_path).sidecars) == 3


@pytest.mark.timeout(20)
def test_pipes_and_sockets_are_listed_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    os.mkfifo(tmp_path / "notes.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s.png"))
        pictures, reasons = found(tmp_path)
    assert (pictures, reasons) == ([], dict.fromkeys(["notes.txt", "s.png", "x.jpg"], "unreadable"))
    assert "a named pipe, not a file" in {one.detail for one in find_pictures(tmp_path).left_out}


def test_links_are_followed_once(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "set"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "a.jpg").write_bytes(JPEG)
    (inside / "real").mkdir(parents=True)
    (inside / "real" / "b.jpg").write_bytes(JPEG)
    (inside / "drive1").symlink_to(outside)
    (inside / "a_second_name").symlink_to(inside / "real")
    (inside / "c.jpg").symlink_to(outside / "deep" / "a.jpg")
    assert found(inside) == (["a_second_name/b.jpg", "c.jpg", "drive1/deep/a.jpg"], {})


def test_links_that_lead_back_or_nowhere_are_listed(tmp_path: Path) -> None:
    (tmp_path / "clear" / "sub").mkdir(parents=True)
    (tmp_path / "clear" / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "clear" / "self").symlink_to(tmp_path / "clear")
    (tmp_path / "clear" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "clear" / "loop.jpg").symlink_to(tmp_path / "clear" / "loop.jpg")
    pictures, reasons = found(tmp_path / "clear")
    assert pictures == []
    assert reasons == {"sub/up": "link", "self": "link", "gone.jpg": "unreadable", "loop.jpg": "unreadable"}


def test_a_name_that_is_no_utf8_can_be_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"stra\xdfe.jpg")
    (tmp_path / name).write_bytes(JPEG)
    (path,) = find_pictures(tmp_path).pictures
    assert printable(path.name) == r"stra\xdfe.jpg"


def test_a_folder_that_may_not_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    listing = Path.iterdir

    def refuse(path: Path) -> object:
        # the tests may run as root, who reads everything
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert found(tmp_path) == ([], {"closed": "unreadable"})


def test_heads_that_are_cut_off_are_no_pictures() -> None:
    for data in (JPEG, PNG, HEIC):
        assert picture_format(data[:2]) == ""
