"""A head trained on features of the adapted backbone, shipped in place of the one that its changes were trained with.

Training the head alone takes minutes where the changes take hours, and photographs of few cameras move it less than the
backbone: a backbone that was trained on them too had learnt the largest camera (docs/results.md).
"""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from tqdm import tqdm

from cascade.evaluate.scores import classification_scores
from cascade.probability import LABELS
from tasks.classifier.head import HEAD_FILE
from tasks.classifier.lora.weights import ADAPTER_FILES
from tasks.classifier.train import head_to_start_from, read_features
from tasks.classifier.trained import flat_logits
from tasks.classifier.weights import LOGITS_FILE, MANIFEST
from tasks.common.files import new_folder, read_json, sha256, sha256_file, write_json
from tasks.data.feature_store import INDEX, SplitFeatures
from tasks.data.schema import PASTED, DataError
from tasks.training.balance import MAIN

if TYPE_CHECKING:
    from tasks.classifier.head import ConvHead, Head
    from tasks.config.learn import TrainParams
    from tasks.training.balance import Balance

OURS = "main source"


def train_adapter_head(
    params: TrainParams, features: Path, balance: Balance, adapted: Path, *, heads: int, start_share: float
) -> tuple[Head, dict[str, dict[str, float]]]:
    """Train heads from the adapter's own with different seeds, and put them side by side, the adapter's among them.

    Args:
        params: section `train`; the seeds count from `params.seed`.
        features: of the pulled splits.
        balance: how much each picture counts.
        adapted: the backbone and the head to begin with.
        heads: so many seeds.
        start_share: of the head at the start, in the logit; what it knew is kept beside what is learnt. 0: without it.

    Returns:
        The head (see `tasks.classifier.join`), and its scores on the calibration split by source, uncalibrated.

    Raises:
        DataError: there are no features, or no conv head to begin with.
    """
    from tasks.classifier.head import ConvHead
    from tasks.classifier.join import join_heads

    splits, common = read_features(features, params, None, None)
    start = head_to_start_from(params, adapted, splits["train"].x.shape[-1], common["channels"])
    if not isinstance(start, ConvHead):
        raise DataError("there is no conv head to begin with; set train.start to adapted and train.head to conv")
    seeds = [params.model_copy(update={"seed": params.seed + number}) for number in range(heads)]
    trained = _fit_heads(splits["train"], seeds, common["channels"], start, balance)
    before, shares = ([start], [start_share]) if start_share else ([], [])
    head = join_heads([*before, *trained], [*shares, *[(1 - start_share) / heads] * heads])
    return head, _scores(head, splits["calibration"], balance)


def _fit_heads(
    train: SplitFeatures, seeds: list[TrainParams], channels: int, start: ConvHead, balance: Balance
) -> list[ConvHead]:
    from tasks.classifier.fit import fit_head

    with tqdm(total=sum(one.epochs for one in seeds), desc="train", unit="epoch") as bar:

        def progress(_: float) -> None:
            bar.update()

        fitted = (fit_head(train, one, progress, channels, copy.deepcopy(start), balance=balance) for one in seeds)
        return [cast("ConvHead", head) for head in fitted]


def _scores(head: Head, split: SplitFeatures, balance: Balance) -> dict[str, dict[str, float]]:
    logit, label, _ = flat_logits(head, split)
    sources = split.source or [""] * len(split.label)
    group = np.repeat([balance.group(one) != MAIN for one in sources], split.x.shape[1])
    parts = {OURS: ~group, "further sources": group}
    p = 1 / (1 + np.exp(-logit))
    return {
        name: classification_scores(label[rows], p[rows], prior=balance.prior)
        for name, rows in parts.items()
        if rows.any()
    }


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


def training_record(
    params: TrainParams, features: Path, balance: Balance, *, heads: int, start_share: float
) -> dict[str, Any]:
    """What a head was trained on, and how; the arguments are those of `train_adapter_head`.

    Raises:
        DataError: there are no features.
    """
    if not (features / INDEX).is_file():
        raise DataError(f"{features / INDEX}: no such file; `dvc repro embed` writes it")
    entry = read_json(features / INDEX)["splits"]["train"]
    counts = Counter(
        (_origin(source, balance), label) for source, label in zip(entry["source"], entry["label"], strict=True)
    )
    given = {name: getattr(params, name) for name in ("learning_rate", "epochs", "average", "batch_size", "seed")}
    conv = params.conv.model_dump(include={"token_scale", "dropout"})
    return {
        "params": {**given, **conv, "heads": heads, "start_share": start_share},
        "balance": {"prior": balance.prior, "weights": dict(balance.weights), "power": balance.power},
        "pictures": {f"{origin}, {LABELS[label]}": counts[origin, label] for origin, label in sorted(counts)},
        "views": len(entry["views"]),
        "data": sha256("".join(sorted(entry["sha256"])).encode()),
    }


def _origin(source: str, balance: Balance) -> str:
    """What the record calls a source; pasted photographs count with the main source in the loss, and are none of it."""
    if (group := balance.group(source)) != MAIN:
        return group
    return PASTED if source.partition("/")[0] == PASTED else OURS
