"""Releases: immutable folders whose manifest vouches for every file, and the pointer to the champion."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cascade.release.manifest import (  # fmt: skip
    FORMAT,
    ID_DIGITS,
    CascadeSettings,
    Claims,
    ClassifierSettings,
    CropSettings,
    EngineEntry,
    Exits,
    FileEntry,
    Frozen,
    FusionRule,
    Manifest,
    StageEntry,
)

__all__ = [
    "CASCADE",
    "CHAMPION",
    "RELEASES",
    "CascadeSettings",
    "ClassifierSettings",
    "CropSettings",
    "Exits",
    "FusionRule",
    "Manifest",
    "OldReleaseError",
    "Release",
    "ReleaseError",
    "StageEntry",
    "champion",
    "load_release",
    "point_champion",
    "read_classifier",
    "read_settings",
    "set_champion",
    "sync_folder",
]  # fmt: skip

RELEASES = Path("models/releases")
MANIFEST = "manifest.json"
GATE = "gate.json"
SETTINGS = "classifier.json"
CASCADE = "cascade.json"
CHAMPION = "champion"
# a pickle runs code when it is read; these do not (tokenizers come with .txt, chat templates with .jinja)
# an engine is of TensorRT, and its record (<name>.engine.json) vouches for the machine that it runs on
SUFFIXES = {".onnx", ".safetensors", ".json", ".engine"}
STAGE_SUFFIXES = SUFFIXES | {".txt", ".jinja", ".yaml"}
Model = TypeVar("Model", bound=BaseModel)


class ReleaseError(ValueError):
    """A release is incomplete, altered, or holds what no manifest vouches for."""


class OldReleaseError(ReleaseError):
    """A release of an older format, whose keys have other names."""


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


def _refuse_old(folder: Path) -> None:
    document = _json(folder / MANIFEST)
    found = document.get("format", 1) if isinstance(document, dict) else None
    if isinstance(found, int) and found < FORMAT:
        raise OldReleaseError(
            f"{folder}: a release of format {found}, and this version reads format {FORMAT}; `make run` builds and "
            "promotes a new one, the folder stays as it is"
        )


def load_release(folder: Path, *, digests: bool = True) -> Release:
    """Open a release after verifying every file and every claim of its manifest.

    Args:
        folder: of the release.
        digests: compare the content of files; without it their size alone, for a quick check of large releases.

    Raises:
        OldReleaseError: it was built by an older version; says what builds a new one.
        ReleaseError: names the file that is missing, altered, unnamed or not allowed.
    """
    folder = folder.resolve()
    _refuse_old(folder)
    manifest = _read(folder / MANIFEST, Manifest)
    _refuse_strangers(folder, manifest)
    for name, expected in manifest.files.items():
        same = entry_of(folder / name) == expected if digests else (folder / name).stat().st_size == expected.size
        if not same:
            raise ReleaseError(f"{folder / name}: altered: its digest is not the manifest's; build the release again")
    if identify(manifest.files, manifest.revision) != manifest.id or folder.name != manifest.id:
        raise ReleaseError(f"{folder}: the manifest's id is not that of its content")
    if claims(folder, manifest.engine.versions) != manifest.model_dump(include=set(Claims.model_fields)):
        raise ReleaseError(f"{folder / MANIFEST}: thresholds, engine or gate differ from the files it vouches for")
    return Release(folder=folder, manifest=manifest)


def set_champion(releases: Path, release_id: str) -> Release:
    """Point the champion at a release that verifies; a reader sees the old or the new one, never none."""
    release = load_release(releases / release_id)
    point_champion(releases, release.id)
    return release


def point_champion(releases: Path, release_id: str | None) -> None:
    """Point the champion at a release that was verified already; None takes the pointer away."""
    if release_id is None:
        (releases / CHAMPION).unlink(missing_ok=True)
    else:
        link = releases / f".{CHAMPION}-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(release_id)
        link.replace(releases / CHAMPION)
    if releases.is_dir():
        sync_folder(releases)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's list of names; without it a rename may not survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def champion(releases: Path, *, digests: bool = True) -> Release | None:
    """Give the verified champion, or None where none was promoted yet; see `load_release`."""
    link = releases / CHAMPION
    return load_release(link, digests=digests) if link.is_symlink() else None


def claims(folder: Path, versions: dict[str, str]) -> dict[str, Any]:
    """Give what a manifest says of the files of its folder, with the versions they were built with.

    Raises:
        ReleaseError: one of them is missing or does not fit; names the key.
    """
    settings = _read(folder / SETTINGS, ClassifierSettings)
    engine = EngineEntry(
        kind=settings.engine, precision=settings.precision, threads=settings.threads, versions=versions
    )
    gate = _json(folder / GATE)
    claims = Claims(
        thresholds=settings.exits, calibration=settings.calibration, engine=engine, size=settings.size, gate=gate
    )
    return claims.model_dump()


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


def identify(files: dict[str, FileEntry], revision: dict[str, str]) -> str:
    """Give a release's id: the digest of its files and of the data revision."""
    digests = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(f"{digests}data {revision.get('data', '')}\n".encode()).hexdigest()[:ID_DIGITS]


def entry_of(path: Path) -> FileEntry:
    """Give the digest and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, size=path.stat().st_size)


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
