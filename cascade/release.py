"""Releases: immutable folders whose manifest vouches for every file, and the pointer to the champion."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cascade.manifest import (
    FOLDERS,
    ID_DIGITS,
    CascadeSettings,
    Claims,
    ClassifierSettings,
    EngineEntry,
    Exits,
    FileEntry,
    Frozen,
    Looks,
    Manifest,
    Rule,
    StageEntry,
)  # fmt: skip

__all__ = [
    "CASCADE", "CHAMPION", "CascadeSettings", "ClassifierSettings", "Exits", "Looks", "Manifest", "Release",
    "ReleaseError", "Rule", "StageEntry", "build_release", "champion", "load_release", "read_classifier",
    "read_settings", "set_champion",
]  # fmt: skip

MANIFEST = "manifest.json"
GATE = "gate.json"
SETTINGS = "classifier.json"
CASCADE = "cascade.json"
CHAMPION = "champion"
# a pickle runs code when it is read; these do not (tokenizers come with .txt, chat templates with .jinja)
# an engine is of TensorRT, and its record (<name>.engine.json) vouches for the machine that it runs on
SUFFIXES = {".onnx", ".safetensors", ".json", ".engine"}
STAGE_SUFFIXES = SUFFIXES | {".txt", ".jinja", ".yaml"}
# larger files of those folders are hard links where the file system allows: a judge has gigabytes
LINK_BYTES = 16_000_000
Model = TypeVar("Model", bound=BaseModel)


class ReleaseError(ValueError):
    """A release is incomplete, altered, or holds what no manifest vouches for."""


class Release(Frozen):
    """A verified release."""

    folder: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The release's name: its content's digest."""
        return self.manifest.id

    @property
    def settings(self) -> CascadeSettings:
        """The stages and how they are combined; a release without `cascade.json` is the classifier alone."""
        return read_settings(self.folder) if CASCADE in self.manifest.files else CascadeSettings()


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
        settings: the worth stage's `cascade.json`; without it the classifier is the only stage.

    Raises:
        ReleaseError: a file is missing or of a kind that releases do not hold.
    """
    sources = _sources(classifier, report) | _stage_sources(stages)
    if settings is not None:
        _check_settings(settings, stages)
        sources[CASCADE] = settings
    files = {name: _entry(path) for name, path in sorted(sources.items())}
    release_id = _identify(files, revision)
    final, building = releases / release_id, releases / f".new-{release_id}"
    if not final.is_dir():
        # what a killed build left behind
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        for name, path in sources.items():
            _place(path, building / name, linkable="/" in name)
        manifest = _manifest(building, release_id, files, revision)
        (building / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _rename(building, final)
    return load_release(final)


def read_settings(folder: Path) -> CascadeSettings:
    """Read the `cascade.json` of a folder.

    Raises:
        ReleaseError: it is missing or does not fit; names the key.
    """
    return _read(folder / CASCADE, CascadeSettings)


def read_classifier(folder: Path) -> ClassifierSettings:
    """Read the `classifier.json` of a release or of the export stage.

    Raises:
        ReleaseError: it is missing or does not fit; names the key.
    """
    return _read(folder / SETTINGS, ClassifierSettings)


def load_release(folder: Path) -> Release:
    """Open a release after verifying every file and every claim of its manifest.

    Raises:
        ReleaseError: names the file that is missing, altered, unnamed or not allowed.
    """
    folder = folder.resolve()
    manifest = _read(folder / MANIFEST, Manifest)
    _refuse_strangers(folder, manifest)
    for name, expected in manifest.files.items():
        if _entry(folder / name) != expected:
            raise ReleaseError(f"{folder / name}: altered: its digest is not the manifest's; build the release again")
    if _identify(manifest.files, manifest.revision) != manifest.id or folder.name.removeprefix(".new-") != manifest.id:
        raise ReleaseError(f"{folder}: the manifest's id is not that of its content")
    if _claims(folder, manifest.engine.versions) != manifest.model_dump(include=set(Claims.model_fields)):
        raise ReleaseError(f"{folder / MANIFEST}: thresholds, engine or gate differ from the files it vouches for")
    return Release(folder=folder, manifest=manifest)


def set_champion(releases: Path, release_id: str) -> Release:
    """Point the champion at a release that verifies; a reader sees the old or the new one, never none."""
    release = load_release(releases / release_id)
    link = releases / f".{CHAMPION}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(release.id)
    link.replace(releases / CHAMPION)
    return release


def champion(releases: Path) -> Release | None:
    """Give the verified champion, or None where none was promoted yet."""
    link = releases / CHAMPION
    return load_release(link) if link.is_symlink() else None


def _claims(folder: Path, versions: dict[str, str]) -> dict[str, Any]:
    settings = _read(folder / SETTINGS, ClassifierSettings)
    engine = EngineEntry(
        kind=settings.engine, precision=settings.precision, threads=settings.threads, versions=versions
    )
    gate = _json(folder / GATE)
    claims = Claims(
        thresholds=settings.exits, calibration=settings.calibration, engine=engine, size=settings.size, gate=gate
    )
    return claims.model_dump()


def _manifest(folder: Path, release_id: str, files: dict[str, FileEntry], revision: dict[str, str]) -> Manifest:
    versions = {name: metadata.version(name) for name in ("openvino", "onnxruntime", "numpy", "pillow")}
    versions["python"] = ".".join(map(str, sys.version_info[:3]))
    return Manifest(id=release_id, files=files, revision=revision, **_claims(folder, versions))


def _sources(classifier: Path, report: Path) -> dict[str, Path]:
    if not classifier.is_dir():
        raise ReleaseError(f"{classifier}: no such folder; `dvc repro export` writes it")
    sources = {path.name: path for path in sorted(classifier.iterdir())}
    for name, path in sources.items():
        if not path.is_file() or path.suffix not in SUFFIXES or name in (MANIFEST, GATE):
            raise ReleaseError(f"{path}: a release holds only files of the kinds {', '.join(sorted(SUFFIXES))}")
    for needed in (classifier / "classifier.onnx", classifier / "contract.json", classifier / SETTINGS, report):
        if not needed.is_file():
            raise ReleaseError(f"{needed}: no such file; `dvc repro` writes it")
    return {**sources, GATE: report}


def _stage_sources(stages: Mapping[str, Path]) -> dict[str, Path]:
    """Every file of the stages' folders, under its name in the release."""
    sources: dict[str, Path] = {}
    for name, folder in stages.items():
        if name not in FOLDERS:
            raise ReleaseError(f"{name}: no such stage; a release knows {', '.join(FOLDERS)}")
        if not folder.is_dir():
            raise ReleaseError(f"{folder}: no such folder; `dvc repro` writes it")
        for path in sorted(one for one in folder.rglob("*") if not one.is_dir()):
            if path.is_symlink() or path.suffix not in STAGE_SUFFIXES:
                raise ReleaseError(f"{path}: a release holds only files of {', '.join(sorted(STAGE_SUFFIXES))}")
            sources[f"{name}/{path.relative_to(folder).as_posix()}"] = path
    return sources


def _check_settings(path: Path, stages: Mapping[str, Path]) -> None:
    """A stage that is switched on must be in the release; reading text needs no weights of ours."""
    if path.name != CASCADE:
        raise ReleaseError(f"{path}: expected a file named {CASCADE}")
    for entry in read_settings(path.parent).stages:
        if entry.on and entry.name not in ("classifier", "text", *stages):
            raise ReleaseError(f"{path}: switches on {entry.name}, whose files the release does not get")


def _place(source: Path, target: Path, *, linkable: bool) -> None:
    """Put a file into a release that is being built: a hard link where that saves much, else a copy.

    Pipeline stages replace files and never write into them, so a link keeps its content.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_size >= LINK_BYTES and linkable:
        # another file system, or one without links
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            return
    shutil.copyfile(source, target)


def _refuse_strangers(folder: Path, manifest: Manifest) -> None:
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    if missing := set(manifest.files) - there:
        raise ReleaseError(f"{folder}: {_names(missing)} missing, although the manifest names it")
    if strange := there - set(manifest.files) - {MANIFEST}:
        raise ReleaseError(f"{folder}: {_names(strange)} not named by the manifest")
    for path in (folder / name for name in manifest.files):
        # a name that leaves the folder was never listed by iterdir, so it is missing above
        allowed = SUFFIXES if path.parent == folder else STAGE_SUFFIXES
        if path.suffix not in allowed or path.is_symlink() or not path.is_file():
            raise ReleaseError(f"{path}: a release holds only plain files of the kinds {', '.join(sorted(allowed))}")


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _identify(files: dict[str, FileEntry], revision: dict[str, str]) -> str:
    digests = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(f"{digests}data {revision.get('data', '')}\n".encode()).hexdigest()[:ID_DIGITS]


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, size=path.stat().st_size)


def _rename(building: Path, final: Path) -> None:
    for path in [*building.rglob("*"), building]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    # another process may have built the same content meanwhile
    with contextlib.suppress(OSError):
        building.rename(final)


def _read(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate(_json(path))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ReleaseError(f"{path}: {problems}") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path}: cannot be read as JSON: {error}") from None
