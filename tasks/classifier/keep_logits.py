"""What the head of the adapter answers photographs: the file that ships in their place."""

from __future__ import annotations

from pathlib import Path

from tasks.classifier.calibrate import CalibrationLogits
from tasks.classifier.kept_logits import HEAD_FILE, write_logits
from tasks.classifier.train import head_to_start_from, read_features
from tasks.common.files import sha256_file
from tasks.config.learn import TrainParams
from tasks.data.schema import DataError


def keep_logits(params: TrainParams, sources: set[str], features: Path, adapted: Path, shipped: Path) -> int:
    """Ask the head that a training would begin with about the calibration split, and keep what it says of photographs.

    Args:
        params: section `train`.
        sources: names of the further sources.
        features: of the pulled splits, computed with the backbone in `adapted`.
        adapted: the adapted backbone and its head.
        shipped: the changes that ship, with the same head.

    Returns:
        How many pictures were kept.

    Raises:
        DataError: there is no head, another one ships, or no picture is of a further source.
    """
    splits, common = read_features(features, params, None, None)
    head = head_to_start_from(params, adapted, splits["train"].x.shape[-1], common["channels"])
    if head is None:
        raise DataError("train.start: random begins with no head whose answers could be kept; set it to adapted")
    if sha256_file(shipped / HEAD_FILE) != sha256_file(adapted / HEAD_FILE):
        raise DataError(f"{shipped / HEAD_FILE}: not the head of {adapted}; `python -m tasks.adapt --ship` ships it")
    return write_logits(CalibrationLogits.of_features(head, splits, params), sources, shipped)
