"""Where a pipeline step looks for what was fetched, and what it takes for finished.

- backbone: `models/.backbone.download`, out of which `tasks.classifier.weights` makes models/backbone;
- data: `var/hub/<repo>/<revision>`, as `tasks.data.readers` reads it;
- diffusers: the same, with the mark of `tasks.synthesis.hub`;
- cache: the Hub's own cache (HF_HUB_CACHE), which transformers and vLLM look into;
- text: `text.model` of params.yaml, in one step, with a manifest of digests.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tasks.classifier.weights import BACKBONE, MANIFEST
from tasks.common.files import new_folder, read_json, sha256_file, write_json
from tasks.data.readers import HUB_CACHE
from tasks.synthesis.hub import CACHE
from tasks.tools.downloads.catalogue import Need

COMPLETE = ".complete"
TEXT_FILES = ("config.json", "model.safetensors", "tokenizer.json")


class PlaceError(RuntimeError):
    """What came from the Hub is not what its step needs."""


def folder_of(need: Need) -> Path | None:
    """The folder that a snapshot is downloaded to; None for the Hub's cache."""
    snapshot = Path(need.repo.replace("/", "--")) / need.revision
    if need.place == "backbone":
        return BACKBONE.with_name(f".{BACKBONE.name}.download")
    if need.place == "ocr" and need.folder:
        return need.folder.with_name(f".{need.folder.name}.download")
    return {"data": HUB_CACHE / snapshot, "diffusers": CACHE / snapshot}.get(need.place)


def shown(need: Need) -> str:
    """The place in words."""
    final = {"backbone": BACKBONE, "ocr": need.folder}.get(need.place) or folder_of(need)
    return str(final) if final else "the Hub's cache"


def is_copied(need: Need) -> bool:
    """Whether the download is copied into the final folder, so that its bytes lie on the disk twice for a moment."""
    return need.place in ("backbone", "ocr")


def has_last_step(need: Need) -> bool:
    """Whether `finish` does something without which whole files are not enough."""
    return need.place in ("diffusers", "ocr")


def finished(need: Need) -> bool:
    """Whether the step has, or will find, all of it without the Hub being asked for its list of files."""
    if need.place == "diffusers":
        return (CACHE / need.repo.replace("/", "--") / need.revision / COMPLETE).is_file()
    final = {"backbone": BACKBONE, "ocr": need.folder}.get(need.place)
    if final is None or not (final / MANIFEST).is_file():
        return False
    return bool(read_json(final / MANIFEST).get("source") == _origin(need))


def finish(need: Need) -> None:
    """Do what makes a complete download one that its step takes.

    Raises:
        PlaceError: the snapshot lacks a file.
    """
    download = folder_of(need)
    if download is None:
        return
    if need.place == "diffusers":
        (download / COMPLETE).touch()
    if need.place == "ocr" and need.folder:
        _install_text(need, download, need.folder)


def _install_text(need: Need, download: Path, folder: Path) -> None:
    if missing := [name for name in TEXT_FILES if not (download / name).is_file()]:
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
