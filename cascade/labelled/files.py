"""The files below a folder, links followed, and which of them are pictures by their first bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cascade.preprocess.image import FORMATS
from cascade.video.containers import HEAD_BYTES, is_clip

# what the first bytes of pictures are; WebP, AVIF and HEIC have their mark behind a length
MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"8BPS", "PSD"),
)  # fmt: skip
# brands of ISO media files that hold a still picture (ISO/IEC 23008-12, AV1 Image File Format)
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC",
          b"hevc": "HEIC", b"hevx": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}  # fmt: skip
SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".heic",
    ".heif", ".hif", ".avif", ".jxl", ".jp2", ".psd",
})  # fmt: skip
# what lies beside pictures and is none: annotations and notes
SIDECARS = frozenset({
    ".txt", ".xml", ".json", ".jsonl", ".csv", ".tsv", ".md", ".yaml", ".yml", ".html", ".log", ".parquet", ".sha256",
})  # fmt: skip
# what systems leave behind; names with a dot in front are left out as well (.DS_Store, ._x.jpg of macOS)
SYSTEM = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})
KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


class FolderError(ValueError):
    """A folder holds no labelled pictures, or its manifest does not fit; the message names the file and the line."""


@dataclass(frozen=True)
class LeftOut:
    """Something that is not used, for people to see.

    Attributes:
        path: file, or folder where everything below it is left out.
        reason: one word.
        detail: a sentence without the path.
        line: of the manifest that names it, `manifest.csv, line 7`; empty where none does.
    """

    path: Path
    reason: str
    detail: str
    line: str = ""

    @property
    def message(self) -> str:
        """One line for people."""
        return f"{printable(self.line or str(self.path))}: {self.detail}"


@dataclass(frozen=True)
class FoundFiles:
    """What lies below a folder, each in order of paths.

    Attributes:
        pictures: by content, or by suffix where the decoder has to say what is wrong.
        sidecars: annotations and notes, which nobody expects to be read as pictures.
        left_out: everything else.
    """

    pictures: list[Path] = field(default_factory=list)
    sidecars: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def find_pictures(folder: Path) -> FoundFiles:
    """List the pictures at any depth below a folder; links to folders are followed, each folder is read once.

    Files of the system are passed over. What is no picture that the decoder can read is listed as left out. Nothing but
    regular files is opened: a named pipe would wait for somebody to write into it.
    """
    found = FoundFiles()
    for path in files_below(folder, found.left_out):
        if what := not_a_file(path):
            found.left_out.append(LeftOut(path, "unreadable", what))
        elif (problem := picture_problem(path)) is None:
            found.pictures.append(path)
        elif path.suffix.lower() in SIDECARS:
            found.sidecars.append(path)
        else:
            found.left_out.append(LeftOut(path, *problem))
    return found


def sidecar(path: Path) -> LeftOut:
    """An entry for a sidecar, where all that is not used is listed."""
    return LeftOut(path, "not_an_image", f"{path.suffix} is not a suffix of an image")


def not_a_file(path: Path) -> str:
    """Why a path cannot be read as a file, in words; empty for a regular file. Opens nothing."""
    try:
        mode = path.stat().st_mode
    except ValueError:
        return "the name holds a character that no file name can hold"
    except OSError as error:
        return "a link to a file that is not there" if path.is_symlink() else _words(error)
    if stat.S_ISREG(mode):
        return ""
    return next((f"{kind}, not a file" for test, kind in KINDS if test(mode)), "not a file")


def picture_format(head: bytes) -> str:
    """The format of a picture by the first HEAD_BYTES of its file, as Pillow calls it; empty where it is none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], "")
    return next((name for magic, name in MAGIC if head.startswith(magic)), "")


def printable(name: str | Path) -> str:
    """A name as text that every terminal, CSV and parquet file takes: bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system."""
    return name.startswith(".") or name.lower() in SYSTEM


def files_below(folder: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    """Every entry at any depth that is no folder, in order of paths; links are followed, system files passed over.

    Args:
        folder: where to look.
        left_out: gets the folders that cannot be read and the links that lead to a folder above them.
    """
    seen: set[tuple[int, int]] = set()

    def below(place: Path) -> Iterator[Path]:
        try:
            status = place.stat()
            entries = sorted(entry for entry in place.iterdir() if not is_system_file(entry.name))
            folders = {entry for entry in entries if entry.is_dir()}
        except OSError as error:
            left_out.append(LeftOut(place, "unreadable", f"the folder cannot be read: {_words(error)}"))
            return
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry not in folders:
                yield entry
            elif entry.is_symlink() and _is_above(entry):
                left_out.append(LeftOut(entry, "link", "a link to a folder above it"))
            else:
                yield from below(entry)

    yield from below(folder)


def _is_above(link: Path) -> bool:
    """Whether a link to a folder leads back to where it lies, so that following it would never end."""
    home = link.parent.resolve()
    return link.resolve() in (home, *home.parents)


def picture_problem(path: Path) -> tuple[str, str] | None:
    """Reason and detail of a regular file that the decoder cannot read as a picture; None where it may."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return "unreadable", f"the file cannot be read: {_words(error)}"
    kind = picture_format(head)
    if kind and kind not in FORMATS:
        return "unsupported", f"a picture in the format {kind}; convert it to JPEG or PNG"
    if is_clip(head):
        return "clip", "a clip, not a picture"
    # one that calls itself a picture goes to the decoder, which knows best what is wrong with it
    if kind or path.suffix.lower() in SUFFIXES:
        return None
    return ("empty", "the file is empty") if not head else ("not_an_image", "neither name nor content is a picture's")


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
