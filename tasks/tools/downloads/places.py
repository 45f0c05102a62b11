"""Where a pipeline step finds what was fetched, and what it takes for finished.

- backbone: `models/.backbone.download`, out of which `tasks.classifier.weights` makes models/backbone;
- data: `var/hub/<repo>/<revision>`, as `tasks.data.readers` reads it;
- diffusers: the same, with the mark of `tasks.synthesis.sdxl_weights`;
- cache: the Hub's own cache (HF_HUB_CACHE), which transformers and vLLM read;
- ocr: `ocr.model` of params.yaml, in one step, with a manifest of digests.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.classifier.weights import BACKBONE, MANIFEST, hub_snapshot
from tasks.common.files import new_folder, read_json, sha256_file, write_json
from tasks.common.hub import Snapshot
from tasks.data.readers import HUB_CACHE
from tasks.synthesis.sdxl_weights import is_complete, mark_complete, pipeline_snapshot
from tasks.tools.downloads.catalogue import Need

OCR_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class PlaceError(RuntimeError):
    """What came from the Hub is not what its step needs."""


def snapshot_of(need: Need) -> Snapshot:
    """What is fetched for a need, and where to."""
    if need.place == "diffusers":
        snapshot = pipeline_snapshot(need.repo, need.revision, need.patterns)
    elif need.place == "backbone":
        snapshot = hub_snapshot(need.repo, need.revision)
    else:
        snapshot = Snapshot(need.repo, need.revision, need.kind, _folder(need), need.patterns)
    return replace(snapshot, key=need.key, stage=need.stage)


def _folder(need: Need) -> Path | None:
    """The folder that a snapshot is downloaded to; None for the Hub's cache."""
    if need.place == "ocr" and need.folder:
        return need.folder.with_name(f".{need.folder.name}.download")
    return HUB_CACHE / need.repo.replace("/", "--") / need.revision if need.place == "data" else None


def shown(need: Need) -> str:
    """The place as text."""
    final = {"backbone": BACKBONE, "ocr": need.folder}.get(need.place) or snapshot_of(need).folder
    return str(final) if final else "the Hub's cache"


def is_copied(need: Need) -> bool:
    """Whether the download is copied into the final folder, so that its bytes lie on the disk twice for a moment."""
    return need.place in ("backbone", "ocr")


def has_last_step(need: Need) -> bool:
    """Whether `finish` does something without which whole files are not enough."""
    return need.place in ("diffusers", "ocr")


def finished(need: Need) -> bool:
    """Whether the step has, or will find, all of it, so that no request to the Hub is needed."""
    if need.place == "diffusers":
        return is_complete(snapshot_of(need))
    final = {"backbone": BACKBONE, "ocr": need.folder}.get(need.place)
    if final is None or not (final / MANIFEST).is_file():
        return False
    return bool(read_json(final / MANIFEST).get("source") == _origin(need))


def finish(need: Need) -> None:
    """Do what makes a complete download one that its step takes.

    Raises:
        PlaceError: the snapshot lacks a file.
    """
    snapshot = snapshot_of(need)
    if need.place == "diffusers":
        mark_complete(snapshot)
    if need.place == "ocr" and need.folder and snapshot.folder:
        _install_ocr(need, snapshot.folder, need.folder)


def _install_ocr(need: Need, download: Path, folder: Path) -> None:
    if missing := [name for name in OCR_FILES if not (download / name).is_file()]:
        raise PlaceError(f"{need.repo}@{need.revision}: the snapshot has no {', '.join(missing)}")
    with new_folder(folder) as partial:
        files = sorted(path for path in download.iterdir() if path.is_file())
        for path in files:
            shutil.copy2(path, partial / path.name)
        digests = {path.name: sha256_file(partial / path.name) for path in files}
        write_json(partial / MANIFEST, {"source": _origin(need), "files": digests})
    shutil.rmtree(download)


def _origin(need: Need) -> dict[str, Any]:
    return {"kind": "hub", "repo": need.repo, "revision": need.revision}
