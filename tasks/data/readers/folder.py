"""A folder of image files as a source: manifest.csv or class folders, below one folder a split where there are those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cascade.labelled.class_names import ClassNames
from cascade.labelled.files import FolderError, LeftOut, not_a_file, picture_problem, printable, sidecar
from cascade.labelled.folder import LabelledFile, class_folders, read_labelled
from cascade.labelled.manifest import MANIFEST
from tasks.common.files import sha256
from tasks.data.readers.rows import STEMS, Rejected
from tasks.data.readers.splits import is_divided, open_splits, share_out, split_of_place
from tasks.data.schema import SLICES, SPLITS, DataError, ImageRow

Parts = dict[str, list[LabelledFile]]


def read_folder(folder: Path, classes: ClassNames, seed: int = 0) -> Iterator[ImageRow | Rejected]:
    """Read the labelled pictures of a folder, and list what cannot be used.

    Raises:
        DataError: there are none, or the manifest cannot be read.
    """
    parts: Parts = {}
    rejected: list[Rejected] = []
    try:
        for split, part in _parts(folder, classes):
            found = read_labelled(part, classes)
            prefix = "" if part == folder else f"{printable(part.name)}/"
            parts.setdefault(split, []).extend(replace(file, name=prefix + file.name) for file in found.files)
            rejected += [_rejected(one, folder) for one in found.left_out]
            rejected += [_rejected(sidecar(path), folder) for path in found.sidecars]
    except FolderError as error:
        raise DataError(f"{error} (pull.data.path in params.yaml)") from None
    return _rows(parts, rejected, seed)


def _parts(folder: Path, classes: ClassNames) -> list[tuple[str, Path]]:
    """The folders that hold labelled pictures, with the split that their name tells; else the folder itself."""
    if (folder / MANIFEST).is_file() or class_folders(folder, classes):
        return [("", folder)]
    subs = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name.lower() in STEMS]
    parts = [
        (STEMS[sub.name.lower()], sub) for sub in subs if (sub / MANIFEST).is_file() or class_folders(sub, classes)
    ]
    return sorted(parts, key=lambda part: SPLITS[::-1].index(part[0])) or [("", folder)]


def _rows(parts: Parts, rejected: list[Rejected], seed: int) -> Iterator[ImageRow | Rejected]:
    named = {split for split in parts if split}
    splits = open_splits(named)
    divided = [file for split, files in parts.items() if is_divided(split, named) for file in files]
    groups: dict[str, set[int]] = {}
    for file in divided:
        if file.group:
            groups.setdefault(file.group, set()).add(file.label)
    chosen = share_out(groups, splits, seed)
    for split, files in parts.items():
        for file in files:
            row = _row(file)
            if isinstance(row, ImageRow):
                home = chosen.get(row.place) or split_of_place(row.place, splits, seed)
                row = row.in_split(home if is_divided(split, named) else split)
            yield row
    yield from rejected


def _row(file: LabelledFile) -> ImageRow | Rejected:
    origin = str(file.path.parent)
    # a manifest names files unseen
    if what := not_a_file(file.path):
        return Rejected(printable(file.path), file.name, "missing", what)
    if problem := picture_problem(file.path):
        return Rejected(printable(file.path), file.name, *problem)
    try:
        data = file.path.read_bytes()
    except OSError as error:
        return Rejected(printable(file.path), file.name, "unreadable", f"the file cannot be read: {error.strerror}")
    digest = sha256(data)
    slices = {name: file.cells.get(name, "") for name in SLICES}
    return ImageRow(
        data,
        file.name,
        file.label,
        digest,
        place=file.group or digest,
        source=file.cells.get("source") or "real",
        slices=slices,
        origin=printable(origin),
    )


def _rejected(one: LeftOut, folder: Path) -> Rejected:
    name = one.path.relative_to(folder) if one.path.is_relative_to(folder) else one.path
    return Rejected(printable(one.line or str(one.path)), printable(name), one.reason, one.detail)
