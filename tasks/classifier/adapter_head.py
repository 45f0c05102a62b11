"""A head trained on features of the adapted backbone, shipped in place of the one that its changes were trained with.

Training the head alone takes minutes where the changes take hours, and photographs of few cameras move it less than the
backbone: a backbone that was trained on them too had learnt the largest camera (docs/results.md).
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.probability import LABELS
from tasks.classifier.lora.weights import ADAPTER_FILES
from tasks.classifier.weights import LOGITS_FILE, MANIFEST
from tasks.common.files import new_folder, read_json, sha256, sha256_file, write_json
from tasks.data.feature_store import INDEX
from tasks.data.schema import DataError

if TYPE_CHECKING:
    from tasks.config.learn import TrainParams
    from tasks.training.balance import Balance

HEAD_FILE = "head.safetensors"


def ship_adapter_head(
    trained: Path, adapted: Path, shipped: Path, record: dict[str, Any], *, cross_fitted: Path | None = None
) -> dict[str, str]:
    """Put a trained head among the shipped changes, and say in their manifest what it was trained on.

    Args:
        trained: folder of the head.
        adapted: backbone whose features it was trained on.
        shipped: the changes of that backbone.
        record: what the manifest has under `head`.
        cross_fitted: a calibration_logits.json of a head that was trained in the same way, but without the pictures
            that it answered there; None: none ships, since logits of pictures trained on would be too sure.

    Returns:
        The digest of the head.

    Raises:
        DataError: there is no trained head, the features were of other changes, or the logits are missing.
    """
    if not (trained / HEAD_FILE).is_file():
        raise DataError(f"{trained / HEAD_FILE}: no such file; `python -m tasks.train` writes it")
    changes = {name: sha256_file(shipped / name) for name in ADAPTER_FILES if name != HEAD_FILE}
    known = read_json(adapted / MANIFEST)["source"].get("changes", {})
    if any(known.get(name) != digest for name, digest in changes.items()):
        raise DataError(f"{adapted}: not with the changes of {shipped}; run `dvc repro adapt embed train` first")
    logits = _cross_fitted(cross_fitted) if cross_fitted else None
    with new_folder(shipped) as partial:
        for name in changes:
            shutil.copyfile(shipped / name, partial / name)
        shutil.copyfile(trained / HEAD_FILE, partial / HEAD_FILE)
        digest = sha256_file(partial / HEAD_FILE)
        manifest = {**read_json(shipped / MANIFEST), "files": {**changes, HEAD_FILE: digest}, "head": record}
        write_json(partial / MANIFEST, manifest)
        if logits is not None:
            write_json(partial / LOGITS_FILE, {**logits, "head": digest})
    return {"head": digest}


def _cross_fitted(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DataError(f"{file}: no such file; `python -m tasks.train --keep-logits` writes it")
    return {**read_json(file), "cross_fitted": True}


def training_record(params: TrainParams, features: Path, balance: Balance) -> dict[str, Any]:
    """What a head was trained on, and how.

    Args:
        params: section `train`.
        features: of the pulled splits.
        balance: of the loss.

    Raises:
        DataError: there are no features.
    """
    if not (features / INDEX).is_file():
        raise DataError(f"{features / INDEX}: no such file; `dvc repro embed` writes it")
    entry = read_json(features / INDEX)["splits"]["train"]
    counts = Counter(zip(map(balance.group, entry["source"]), entry["label"], strict=True))
    return {
        "params": {
            name: getattr(params, name) for name in ("learning_rate", "epochs", "average", "batch_size", "seed")
        },
        "balance": {"prior": balance.prior, "weights": dict(balance.weights), "power": balance.power},
        "pictures": {
            f"{source or 'main source'}, {LABELS[label]}": counts[source, label] for source, label in sorted(counts)
        },
        "views": len(entry["views"]),
        "data": sha256("".join(sorted(entry["sha256"])).encode()),
    }
