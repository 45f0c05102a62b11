"""Gather the folders of a release from what the pipeline left, and build it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cascade.release.build import build_release
from cascade.release.manifest import FOLDERS
from cascade.release.store import Release, read_settings
from tasks.common.files import read_json, sha256
from tasks.common.git import code_revision
from tasks.selection.stages import SOURCES as STAGE_SOURCES

CLASSIFIER = Path("models/classifier")
CASCADE_SETTINGS = Path("models/cascade/cascade.json")
GATE_REPORT = Path("reports/validate/metrics.json")
# what a release is built of; the folders of stages 2 to 4 lie in models/
SOURCES = (Path("models"), GATE_REPORT)
RELEASES = Path("models/releases")
LOCK = Path("dvc.lock")


class CollectError(ValueError):
    """The pipeline has not run yet."""


def assemble(root: Path = Path(), releases: Path | None = None) -> Release:
    """Build the release of what the pipeline left in `root`; the same content gives the same release.

    Args:
        root: folder in which the stages ran.
        releases: takes the release; by default those of `root`. A run in a tree of its own names those of the checkout.

    Raises:
        CollectError: the pipeline has not run.
        cascade.release.store.ReleaseError: a file is missing or not allowed.
    """
    if not (root / LOCK).is_file():
        raise CollectError(f"{root / LOCK}: no such file; `dvc repro` or `make run` writes it")
    revision = {"data": data_digest(root), "code": code_revision(root)}
    settings = root / CASCADE_SETTINGS
    return build_release(
        root / CLASSIFIER,
        root / GATE_REPORT,
        releases or root / RELEASES,
        revision=revision,
        stages=stage_folders(root),
        settings=settings if settings.is_file() else None,
    )


def stage_folders(root: Path = Path()) -> dict[str, Path]:
    """Folders of the stages that are switched on, as far as they have files: a release ships no others."""
    return {name: folder for name, folder in switched_on(root).items() if folder.is_dir()}


def switched_on(root: Path = Path()) -> dict[str, Path]:
    """Folders of the stages that `models/cascade` switches on, whether they are there or not; not the classifier's."""
    settings = root / CASCADE_SETTINGS
    if not settings.is_file():
        return {}
    on = {entry.name for entry in read_settings(settings.parent).stages if entry.on}
    measured = read_json(settings.with_name(STAGE_SOURCES))
    return {name: root / "models" / measured[name] for name in FOLDERS if name in on}


def data_digest(root: Path = Path()) -> str:
    """Digest of the content of dvc.lock, whatever the order of its stages: it is the one in which they ended."""
    return sha256(json.dumps(locked_stages(root), sort_keys=True).encode())


def locked_stages(root: Path = Path()) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock by name."""
    document = yaml.safe_load((root / LOCK).read_text(encoding="utf-8"))
    return dict(document.get("stages", {}))
