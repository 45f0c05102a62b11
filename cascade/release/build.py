"""Building a release: gathering its files, refusing what releases do not hold, and one rename at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import psutil

from cascade.release.manifest import FOLDERS, FileEntry, Manifest
from cascade.release.store import (
    CASCADE,
    GATE,
    MANIFEST,
    SETTINGS,
    STAGE_SUFFIXES,
    SUFFIXES,
    Release,
    ReleaseError,
    claims,
    entry_of,
    identify,
    load_release,
    read_classifier,
    read_settings,
)

COPY_BYTES = 1 << 30
# a folder of a build that runs: `.new-ID-PID-TOKEN`, one a builder, so that two of one release do not meet
PARTIAL = ".new-"
log = logging.getLogger(__name__)


def build_release(
    classifier: Path,
    report: Path,
    releases: Path,
    *,
    revision: dict[str, str],
    stages: Mapping[str, Path] = MappingProxyType({}),
    settings: Path | None = None,
) -> Release:
    """Assemble an immutable release; the same content and data revision give the same id.

    Several processes may build the same one at once. A release folder that was damaged is built again.

    Args:
        classifier: folder of the export stage.
        report: the validate stage's metrics, which become the gate's report.
        releases: where releases live.
        revision: `data` (sha256 of dvc.lock) and `code` (git commit).
        stages: folders of further stages by name, of `FOLDERS`.
        settings: the select_stages stage's `cascade.json`; without it the classifier is the only stage.

    Raises:
        ReleaseError: a file is missing or of a kind that releases do not hold.
    """
    sources = _sources(classifier, report) | _stage_sources(stages)
    if settings is not None:
        _check_settings(settings, stages)
        sources[CASCADE] = settings
    files = {name: entry_of(path) for name, path in sorted(sources.items())}
    release_id = identify(files, revision)
    final = releases / release_id
    if (found := _sound(final)) is not None:
        return found
    _remove_leftovers(releases)
    building = releases / f"{PARTIAL}{release_id}-{os.getpid()}-{secrets.token_hex(4)}"
    building.mkdir(parents=True)
    try:
        for name, path in sources.items():
            _copy(path, building / name)
        manifest = _manifest(building, release_id, files, revision)
        (building / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return _put_in_place(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sound(folder: Path) -> Release | None:
    """The verified release of a folder; None where there is none, or one that was damaged since it was built."""
    if not folder.is_dir():
        return None
    try:
        return load_release(folder)
    except ReleaseError as error:
        log.warning("%s; it is built again", error)
        return None


def _remove_leftovers(releases: Path) -> None:
    """Remove what killed builds left behind: their process is gone, and its id is in the folder's name."""
    for folder in releases.glob(f"{PARTIAL}*"):
        pid = folder.name.split("-")[2:3]
        if not (pid and pid[0].isdigit() and psutil.pid_exists(int(pid[0]))):
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(building: Path, final: Path) -> Release:
    """Sync and rename; a damaged release makes room, one that another process built meanwhile stays."""
    for path in [*building.rglob("*"), building]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    try:
        building.rename(final)
    except OSError:
        if (found := _sound(final)) is not None:
            return found
        damaged = building.with_name(f"{building.name}-damaged")
        # where another process has moved it away already, the next line puts ours into its place
        with contextlib.suppress(FileNotFoundError):
            final.rename(damaged)
        with contextlib.suppress(OSError):
            building.rename(final)
        shutil.rmtree(damaged, ignore_errors=True)
    return load_release(final)


def _manifest(folder: Path, release_id: str, files: dict[str, FileEntry], revision: dict[str, str]) -> Manifest:
    # TensorRT's own stands in the record beside its engine
    more = ("torch",) if read_classifier(folder).engine.startswith("torch") else ()
    versions = {name: metadata.version(name) for name in ("openvino", "onnxruntime", "numpy", "pillow", *more)}
    versions["python"] = ".".join(map(str, sys.version_info[:3]))
    return Manifest(id=release_id, files=files, revision=revision, **claims(folder, versions))


def _sources(classifier: Path, report: Path) -> dict[str, Path]:
    if not classifier.is_dir():
        raise ReleaseError(f"{classifier}: no such folder; `dvc repro export` writes it")
    sources = {path.name: path for path in sorted(classifier.iterdir())}
    for name, path in sources.items():
        _refuse_broken_link(path)
        if not path.is_file() or path.suffix not in SUFFIXES or name in (MANIFEST, GATE):
            raise ReleaseError(f"{path}: a release holds only files of the kinds {', '.join(sorted(SUFFIXES))}")
    for needed in (classifier / "classifier.onnx", classifier / "contract.json", classifier / SETTINGS, report):
        if not needed.is_file():
            raise ReleaseError(f"{needed}: no such file; `dvc repro` writes it")
    return {**sources, GATE: report}


def _stage_sources(stages: Mapping[str, Path]) -> dict[str, Path]:
    """Every file of the stages' folders, under its name in the release.

    Links are followed: with `cache.type symlink` DVC leaves links into its cache.
    """
    sources: dict[str, Path] = {}
    for name, folder in stages.items():
        if name not in FOLDERS:
            raise ReleaseError(f"{name}: no such stage; a release knows {', '.join(FOLDERS)}")
        if not folder.is_dir():
            raise ReleaseError(f"{folder}: no such folder; `dvc repro` writes it")
        for path in sorted(_files_below(folder)):
            _refuse_broken_link(path)
            if not path.is_file() or path.suffix not in STAGE_SUFFIXES:
                raise ReleaseError(f"{path}: a release holds only files of {', '.join(sorted(STAGE_SUFFIXES))}")
            sources[f"{name}/{path.relative_to(folder).as_posix()}"] = path
    return sources


def _check_settings(path: Path, stages: Mapping[str, Path]) -> None:
    """A stage that is switched on must be in the release; reading text needs no weights of ours."""
    if path.name != CASCADE:
        raise ReleaseError(f"{path}: expected a file named {CASCADE}")
    for entry in read_settings(path.parent).stages:
        if entry.on and entry.name not in ("classifier", "ocr", *stages):
            raise ReleaseError(f"{path}: switches on {entry.name}, whose files the release does not get")


def _files_below(folder: Path) -> Iterator[Path]:
    """Every entry that is no folder, at any depth; links to folders are followed."""
    for place, folders, names in os.walk(folder, followlinks=True):
        for inner in (Path(place, name) for name in folders):
            if inner.is_symlink() and inner.resolve() in (inner.parent.resolve(), *inner.parent.resolve().parents):
                raise ReleaseError(f"{inner}: a link to a folder above it; remove it")
        yield from (Path(place, name) for name in names)


def _refuse_broken_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        where = path.readlink()
        raise ReleaseError(
            f"{path}: its content is missing, a link to {where}; `dvc checkout` or `dvc repro` restores it"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy content alone into a release that is being built; a link is followed, and modes are not taken over.

    Never a link: DVC links the files of the workspace to its cache, where the mode is read-only and an edit or
    `dvc gc` would change the release. On btrfs and XFS `copy_file_range` shares the blocks of the two files.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # absent on macOS; refused between some file systems
    with contextlib.suppress(AttributeError, OSError), source.open("rb") as read, target.open("wb") as write:
        while os.copy_file_range(read.fileno(), write.fileno(), COPY_BYTES):
            pass
        if write.tell() == source.stat().st_size:
            return
    shutil.copyfile(source, target)
