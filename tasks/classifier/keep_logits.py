"""What the head of the adapter answers photographs: the file that ships in their place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tasks.classifier.calibrate import CalibrationLogits
from tasks.classifier.encoder import choose_dtype
from tasks.classifier.features import SplitViews, compute_features
from tasks.classifier.kept_logits import write_logits
from tasks.classifier.train import head_to_start_from
from tasks.common.files import read_json, sha256_file
from tasks.data.schema import DataError, read_records, split_file
from tasks.data.views import augmented_views, level_views

if TYPE_CHECKING:
    from tasks.classifier.head import Head
    from tasks.config import Params


def keep_logits(params: Params, pulled: Path, adapted: Path, shipped: Path) -> dict[str, int]:
    """Ask the head that a training would begin with about the photographs of the calibration split.

    Args:
        params: sections `embed`, `train` and `pull`, whose further sources are those photographs.
        pulled: the splits.
        adapted: the adapted backbone and its head.
        shipped: the changes that ship, with the same head; calibration_logits.json goes there.

    Returns:
        How many views were kept.

    Raises:
        DataError: there is no head, another one ships, or no picture is of a further source.
    """
    from tasks.classifier.head import HEAD_FILE

    channels = read_json(adapted / "config.json")["hidden_size"] * len(params.embed.layers)
    width = channels * ((params.embed.size // 14) ** 2 + 1)
    head = head_to_start_from(params.train, adapted, width, channels)
    if head is None:
        raise DataError("train.start: random begins with no head whose answers could be kept; set it to adapted")
    if sha256_file(shipped / HEAD_FILE) != sha256_file(adapted / HEAD_FILE):
        raise DataError(f"{shipped / HEAD_FILE}: not the head of {adapted}; `python -m tasks.adapt --ship` ships it")
    file, sources = split_file(pulled, "calibration"), {one.name for one in params.pull.beside}
    columns = ["sha256", "label", "place", "source"]
    rows = [row for row in read_records(file, columns=columns) if row["source"].partition("/")[0] in sources]
    views = {row["sha256"]: row for row in rows}
    return {"kept": write_logits(_answers(head, params, file, adapted, views), sources, shipped)}


def _answers(
    head: Head, params: Params, file: Path, adapted: Path, rows: dict[str, dict[str, Any]]
) -> CalibrationLogits:
    """Logits of the view of each level of each picture, and of its augmented views."""
    plain = level_views(1)
    augmented = augmented_views(plain, params.embed.tta_views)
    every = [*plain, *augmented]
    logits: dict[str, float] = {}
    batches = compute_features(
        params.embed,
        choose_dtype(params.embed.dtype),
        adapted,
        {"calibration": SplitViews([file], every)},
        lambda key: key.partition("/")[0] not in rows,
    )
    with tqdm(total=len(rows) * len(every), desc="photographs", unit="view") as bar:
        for batch, features in batches:
            logits.update(zip(batch.keys, head.logits(features), strict=False))
            bar.update(len(batch.keys))
    of_plain = [logits[f"{digest}/{view.name}"] for digest in rows for view in plain]
    of_tta = [logits[f"{digest}/{view.name}"] for digest in rows for view in augmented]
    seen = [row for row in rows.values() for _ in plain]
    return CalibrationLogits(
        np.array(of_plain),
        np.array(of_tta).reshape(len(of_plain), -1),
        np.array([row["label"] for row in seen], dtype=np.int64),
        [row["place"] for row in seen],
        [row["source"] for row in seen],
        params.embed.tta_views,
    )
