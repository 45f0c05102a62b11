"""manifest.csv: which files are labelled how, and what people's programs make of such a file."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cascade.labelled.files import FolderError

MANIFEST = "manifest.csv"
REQUIRED = ("file", "label")
DELIMITERS = ",;\t"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SAVE = "save it as UTF-8 (a spreadsheet calls it `CSV UTF-8`)"


@dataclass(frozen=True)
class ManifestRow:
    """One line.

    Attributes:
        line: its number in the file; the header is 1.
        cells: by column, stripped; a cell that is not there is empty.
        problem: what is wrong with the line's shape, or empty.
    """

    line: int
    cells: dict[str, str]
    problem: str


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a manifest in UTF-8, with or without byte order mark, whose columns are parted by comma, semicolon or tab.

    Names of columns are taken without case and blanks.

    Raises:
        FolderError: another encoding, a column that is missing or there twice, or quotes that do not close.
    """
    text = _decoded(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        _check_header(path, header)
        return list(_rows(reader, header))
    except csv.Error as error:
        raise FolderError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FolderError(f"{path}: cannot be read: {error.strerror}") from None
    if data.startswith(UTF16) or b"\0" in data[:200]:
        raise FolderError(f"{path}, line 1: the file is UTF-16; {SAVE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len((data[: error.start] + b".").splitlines())
        raise FolderError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; {SAVE}") from None


def _delimiter(text: str) -> str:
    """The one that is most frequent in the header: spreadsheets write semicolons where decimals have commas."""
    header = text.splitlines()[0] if text else ""
    return max(DELIMITERS, key=header.count)


def _check_header(path: Path, header: list[str]) -> None:
    if missing := [name for name in REQUIRED if name not in header]:
        there = f"; it has {', '.join(filter(None, header))}" if any(header) else ""
        raise FolderError(f"{path}: column {', '.join(missing)} is missing{there}")
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise FolderError(f"{path}: column {', '.join(map(repr, twice))} is there twice")


def _rows(reader: Iterator[list[str]], header: list[str]) -> Iterator[ManifestRow]:
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        named = dict.fromkeys(header, "") | {
            name: cell.strip() for name, cell in zip(header, cells, strict=False) if name
        }
        line: int = getattr(reader, "line_num", 0)
        yield ManifestRow(line, named, _shape(cells, header))


def _shape(cells: list[str], header: list[str]) -> str:
    if len(cells) < len(header):
        return f"the row is short: {len(cells)} of {len(header)} columns"
    if any(cell.strip() for cell in cells[len(header) :]):
        return f"the row is long: {len(cells)} columns instead of {len(header)}; a name with a comma needs quotes"
    return ""
