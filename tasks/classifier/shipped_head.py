"""The trained head that comes with the project, so that `make demo` answers before anything was trained.

It belongs to the changes of models/shipped/adapter: `python -m tasks.tools.demo --ship` writes it from models/head.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.classifier.lora.paths import AdaptPaths
from tasks.classifier.weights import MANIFEST
from tasks.common.files import new_folder, read_json, sha256_file, write_json
from tasks.data.schema import DataError

SHIPPED = Path("models/shipped/head")
HEAD_FILES = ("head.json", "head.safetensors")


def ship_head(head: Path, folder: Path = SHIPPED, adapter: Path = AdaptPaths.shipped) -> None:
    """Copy a trained head, with the digest of the changes that it was trained on.

    Raises:
        DataError: there is no trained head.
    """
    with new_folder(folder) as partial:
        for name in HEAD_FILES:
            if not (head / name).is_file():
                raise DataError(f"{head / name}: no such file; `dvc repro train` writes it")
            shutil.copyfile(head / name, partial / name)
        files = {name: sha256_file(partial / name) for name in HEAD_FILES}
        write_json(partial / MANIFEST, {"adapter": sha256_file(adapter / MANIFEST), "files": files})


def check_head(folder: Path = SHIPPED, adapter: Path = AdaptPaths.shipped) -> None:
    """Refuse a shipped head that is damaged, or was trained on other changes than those that are shipped.

    Raises:
        DataError: names the file and what to do.
    """
    again = "`dvc repro train` and `python -m tasks.tools.demo --ship` write it again"
    for path in [folder / name for name in (MANIFEST, *HEAD_FILES)]:
        if not path.is_file():
            raise DataError(f"{path}: no such file; restore it from git, or {again}")
    manifest = read_json(folder / MANIFEST)
    for name in HEAD_FILES:
        if sha256_file(folder / name) != manifest["files"].get(name):
            raise DataError(f"{folder / name}: its sha256 is not the manifest's; restore it from git, or {again}")
    if manifest["adapter"] != sha256_file(adapter / MANIFEST):
        raise DataError(f"{folder}: trained on other changes of the backbone than those in {adapter}; {again}")
