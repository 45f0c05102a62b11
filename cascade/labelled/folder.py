"""A folder of labelled pictures: listed in manifest.csv, or a subfolder a class. For `evaluate` and pull."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cascade.labelled.class_names import COMMON, EXPECTED, ClassNames
from cascade.labelled.files import (
    SIDECARS,
    FolderError,
    LeftOut,
    find_pictures,
    is_system_file,
    not_a_file,
    picture_problem,
    printable,
)  # fmt: skip
from cascade.labelled.manifest import MANIFEST, ManifestRow, read_manifest

# names of folders that part a data set into splits, as `imagefolder` of Hugging Face has them
SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "calibration", "pool", "challenge"})
NAMED = 8  # folders that a message names


@dataclass(frozen=True)
class LabelledFile:
    """One labelled picture.

    Attributes:
        path: the file.
        name: relative to the folder, as text.
        label: 0 clear, 1 roadwork.
        group: what belongs together, a drive or a place; empty where nobody says.
        cells: further columns of the manifest.
    """

    path: Path
    name: str
    label: int
    group: str = ""
    cells: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledFolder:
    """What a folder holds.

    Attributes:
        files: that are labelled; whether they decode is not known yet.
        sidecars: annotations and notes beside them.
        left_out: what cannot be used.
        manifest: whether a manifest said so.
    """

    files: list[LabelledFile] = field(default_factory=list)
    sidecars: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    manifest: bool = False


def read_labelled(folder: Path, names: ClassNames = COMMON) -> LabelledFolder:
    """List a folder's labelled pictures: from `manifest.csv` where there is one, else from its class folders.

    The manifest has the columns file and label, and may have group and others. Pictures of class folders are found by
    their content, whatever their suffix, at any depth.

    Raises:
        FolderError: it is no folder, no subfolder has the name of a class, or the manifest cannot be read.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder")
    manifest = folder / MANIFEST
    return _from_manifest(manifest, names) if manifest.is_file() else _from_class_folders(folder, names)


def class_folders(folder: Path, names: ClassNames = COMMON) -> dict[Path, int]:
    """The subfolders that a class gave its name, with its label."""
    labels = {sub: names.label(sub.name) for sub in _subfolders(folder)}
    return {sub: label for sub, label in labels.items() if label is not None}


def _from_class_folders(folder: Path, names: ClassNames) -> LabelledFolder:
    classes = class_folders(folder, names)
    if not classes:
        raise FolderError(_no_classes(folder))
    result = LabelledFolder()
    for sub, label in classes.items():
        found = find_pictures(sub)
        result.files.extend(LabelledFile(path, printable(path.relative_to(folder)), label) for path in found.pictures)
        result.sidecars.extend(found.sidecars)
        result.left_out.extend(found.left_out)
    result.left_out.extend(_unlabelled(folder, set(classes), names))
    return result


def _unlabelled(folder: Path, classes: set[Path], names: ClassNames) -> list[LeftOut]:
    """Folders whose name is no class, and pictures beside the class folders: one entry a folder, with a count."""
    left_out = []
    for sub in _subfolders(folder):
        if sub not in classes and (count := len(find_pictures(sub).pictures)):
            why = "left out by name" if names.is_left_out(sub.name) else f"{sub.name!r} is the name of no class"
            left_out.append(LeftOut(sub, "class", f"{count} pictures: {why} ({EXPECTED})"))
    if loose := sum(map(_is_picture, folder.iterdir())):
        left_out.append(LeftOut(folder, "class", f"{loose} pictures beside the class folders have no label"))
    return left_out


def _is_picture(path: Path) -> bool:
    passed_over = is_system_file(path.name) or path.suffix.lower() in SIDECARS
    return not passed_over and not not_a_file(path) and picture_problem(path) is None


def _no_classes(folder: Path) -> str:
    there = [printable(sub.name) for sub in _subfolders(folder)]
    listed = ", ".join(f"{name}/" for name in there[:NAMED]) + (" and others" if len(there) > NAMED else "")
    has = f"; it has {listed}" if there else ""
    splits = [name for name in there if name.lower() in SPLIT_NAMES]
    hint = f"; give one of them, as {folder / splits[0]}" if splits else ""
    return f"{folder}: no labelled images; expected {MANIFEST}, or subfolders roadwork/ and clear/{has}{hint}"


def _subfolders(folder: Path) -> list[Path]:
    return [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not is_system_file(sub.name)]


def _from_manifest(manifest: Path, names: ClassNames) -> LabelledFolder:
    result = LabelledFolder(manifest=True)
    for row in read_manifest(manifest):
        label = names.label(row.cells["label"])
        path = _file_of(row, manifest.parent)
        if problem := _row_problem(row, path, label, names):
            result.left_out.append(LeftOut(path, *problem, line=f"{manifest}, line {row.line}"))
        elif label is not None:
            cells = {name: value for name, value in row.cells.items() if name not in ("file", "label", "group")}
            name = printable(row.cells["file"])
            result.files.append(LabelledFile(path, name, label, row.cells.get("group", ""), cells))
    return result


def _file_of(row: ManifestRow, folder: Path) -> Path:
    """The file that a row names; manifests made on Windows have backslashes."""
    path = folder / row.cells["file"]
    return folder / row.cells["file"].replace("\\", "/") if not_a_file(path) else path


def _row_problem(row: ManifestRow, path: Path, label: int | None, names: ClassNames) -> tuple[str, str] | None:
    if label is None:
        if names.is_left_out(row.cells["label"]):
            return "class", f"label {row.cells['label']!r} is left out by name"
        shape = f"; {row.problem}" if row.problem else ""
        return "bad_label", f"label {row.cells['label']!r} is none of {EXPECTED}{shape}"
    if row.problem:
        return "bad_row", row.problem
    if not row.cells["file"]:
        return "bad_row", "the cell `file` is empty"
    what = not_a_file(path)
    return ("missing", f"{path}: {what}") if what else None
