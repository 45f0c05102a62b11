"""manifest.csv as spreadsheets, editors and scripts write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.labelled.files import FolderError
from cascade.labelled.manifest import read_manifest

GOOD = "file,label,group\nä.jpg,1,drive\nb.jpg,0,\n"


@pytest.mark.parametrize(
    "data",
    [
        GOOD.encode(),
        # Excel's `CSV UTF-8`
        GOOD.encode("utf-8-sig"),
        # where decimals have commas
        GOOD.replace(",", ";").encode("utf-8-sig"),
        GOOD.replace(",", "\t").encode(),
        # Windows, and a Mac of before 2001
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        # blanks and capitals in the header, blank lines
        GOOD.replace("file,label", "File , LABEL").replace("\nb", "\n\n  \nb").encode(),
        # no end of line at the end
        GOOD.strip("\n").encode(),
        # empty columns at the end, as spreadsheets leave them
        GOOD.replace("\n", ",,\n").encode(),
    ],
)
def test_one_content_in_many_spellings(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.csv").write_bytes(data)
    first, second = read_manifest(tmp_path / "manifest.csv")
    assert [first.cells[name] for name in ("file", "label", "group")] == ["ä.jpg", "1", "drive"]
    assert [second.cells[name] for name in ("file", "label", "group")] == ["b.jpg", "0", ""]
    assert first.problem == second.problem == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # Excel's `Unicode text`
        (GOOD.encode("utf-16"), r"manifest\.csv, line 1: the file is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "line 1: the file is UTF-16"),
        (GOOD.encode("latin-1"), "line 2: byte 0xe4 is not UTF-8; save it as UTF-8"),
        # a file name that is not UTF-8, after lines that are
        (b"file,label\r\na.jpg,1\r\nb.jpg,0\r\nstra\xdfe.jpg,1\r\n", "line 4: byte 0xdf"),
        (b"", "column file, label is missing"),
        (b"name,label\na.jpg,1\n", "column file is missing; it has name, label"),
        (b"file,label,label\na.jpg,1,0\n", "column 'label' is there twice"),
        (b'file,label\n"a.jpg,1\nb.jpg,0\n', "line 3: not CSV"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(data)
    with pytest.raises(FolderError, match=message) as caught:
        read_manifest(tmp_path / "manifest.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.jpg", "the row is short: 1 of 3 columns"),
        ("a.jpg,1", "the row is short: 2 of 3 columns"),
        # a comma in a name
        ("a,b.jpg,1,drive", "the row is long: 4 columns instead of 3"),
    ],
)
def test_rows_of_another_length_are_marked(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"file,label,group\nx.jpg,0,\n{line}\n")
    good, bad = read_manifest(tmp_path / "manifest.csv")
    assert good.problem == ""
    assert bad.problem.startswith(problem)
    assert bad.line == 3
