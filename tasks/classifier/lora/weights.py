"""Low-rank changes as files, in peft's own format beside their head and a manifest; and merged into a backbone.

Import this only where torch is wanted.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tasks.classifier.head import HEAD_FILE, Head, save_head
from tasks.classifier.weights import LOGITS_FILE, MANIFEST, MODEL_FILE, write_manifest
from tasks.common.files import new_folder, read_json, sha256_file, write_json
from tasks.data.schema import DataError

CHANGES_FILE = "adapter_model.safetensors"
ADAPTER_FILES = ("adapter_config.json", CHANGES_FILE, HEAD_FILE)
WEIGHTS = "weights"  # key of the manifest: raw against averaged weights, where the changes were trained with that
PREPROCESSOR_FILE = "preprocessor_config.json"


def save_changes(low_rank: Any, head: Head, folder: Path, provenance: dict[str, Any]) -> None:
    """Write the changes of a `PeftModel` and their head, and last manifest.json with their digests and `provenance`."""
    with new_folder(folder) as partial:
        low_rank.save_pretrained(partial)
        save_head(head, partial)
        # a model card to fill in
        (partial / "README.md").unlink(missing_ok=True)
        config = read_json(partial / ADAPTER_FILES[0])
        # a folder of the machine that it was trained on, and sets, which peft writes in any order
        config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
        write_json(partial / ADAPTER_FILES[0], config)
        digests = {name: sha256_file(partial / name) for name in ADAPTER_FILES}
        write_json(partial / MANIFEST, {**provenance, "files": digests})


def copy_changes(changes: Path, folder: Path) -> None:
    """Copy what `save_changes` wrote."""
    with new_folder(folder) as partial:
        for name in (MANIFEST, *ADAPTER_FILES):
            shutil.copyfile(changes / name, partial / name)


def check_changes(folder: Path, backbone: Path, layers: tuple[int, ...]) -> dict[str, Any]:
    """Read the manifest of shipped changes.

    Raises:
        DataError: a file is missing or not what the manifest vouches for, or the changes are of another backbone or
            were trained for other layers.
    """
    for path in [folder / name for name in (MANIFEST, *ADAPTER_FILES)]:
        if not path.is_file():
            raise DataError(f"{path}: no such file; `adapt.mode: train` in params.yaml makes it, `off` needs none")
    manifest = dict(read_json(folder / MANIFEST))
    for name in ADAPTER_FILES:
        if sha256_file(folder / name) != manifest["files"].get(name):
            raise DataError(f"{folder / name}: its sha256 is not the manifest's; restore the file from git")
    if manifest["backbone"] != sha256_file(backbone / MODEL_FILE):
        raise DataError(f"{folder}: made for another backbone than {backbone}; set adapt.mode to off or train")
    if manifest["layers"] != list(layers):
        wanted, given = manifest["layers"], list(layers)
        raise DataError(f"{folder}: made for embed.layers {wanted}, not {given}; set adapt.mode to off or train")
    return manifest


def merge_changes(backbone: Path, folder: Path, origin: dict[str, Any], changes: Path | None) -> None:
    """Write a `Dinov2Model` folder that holds the backbone with its changes added in; None: as it is.

    Merged weights cost nothing when they are used: the same model as before with other numbers in it.
    """
    with new_folder(folder) as partial:
        if changes is None:
            for path in backbone.iterdir():
                if path.name != MANIFEST:
                    shutil.copyfile(path, partial / path.name)
        else:
            _merged(backbone, changes).save_pretrained(partial)
            shutil.copyfile(backbone / PREPROCESSOR_FILE, partial / PREPROCESSOR_FILE)
            shutil.copyfile(changes / HEAD_FILE, partial / HEAD_FILE)
            if (changes / LOGITS_FILE).is_file():
                shutil.copyfile(changes / LOGITS_FILE, partial / LOGITS_FILE)
        write_manifest(partial, origin)


def _merged(backbone: Path, changes: Path) -> Any:
    from peft import PeftModel
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(backbone, use_safetensors=True)
    return PeftModel.from_pretrained(model, changes).merge_and_unload()
