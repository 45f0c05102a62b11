"""Building a release: gathering its files, refusing what releases do not hold, and one rename at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

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
    read_settings,
)

COPY_BYTES = 1 << 30


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
    final, building = releases / release_id, releases / f".new-{release_id}"
    if not final.is_dir():
        # what a killed build left behind
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        for name, path in sources.items():
            _copy(path, building / name)
        manifest = _manifest(building, release_id, files, revision)
        (building / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _rename(building, final)
    return load_release(final)


def _manifest(folder: Path, release_id: str, files: dict[str, FileEntry], revision: dict[str, str]) -> Manifest:
    versions = {name: metadata.version(name) for name in ("openvino", "onnxruntime", "numpy", "pillow")}
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


def _rename(building: Path, final: Path) -> None:
    for path in [*building.rglob("*"), building]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    # another process may have built the same content meanwhile
    with contextlib.suppress(OSError):
        building.rename(final)
