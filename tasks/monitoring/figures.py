"""The figures that request a retrain, each with its limit: the size of a batch, new labels, drift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.common.files import read_json
from tasks.data.batches import MANIFEST, batch_digests, find_batches
from tasks.data.labelled import LabelPaths
from tasks.data.reviews import read_reviews


@dataclass(frozen=True)
class MonitoredFigure:
    """A figure against its limit.

    Attributes:
        value: None where there is not enough to measure on.
        note: what it was measured on, or why it was not.
        is_passed: whether a retrain is requested.
    """

    name: str
    value: float | None
    limit: float
    note: str
    is_passed: bool


def batch_size(batch: Path, limit: int) -> MonitoredFigure:
    """The number of pictures in a batch; 0 where there is no batch."""
    count = len(batch_digests([batch])) if (batch / MANIFEST).is_file() else 0
    return MonitoredFigure("batch_pictures", count, limit, f"in {batch}", count >= limit)


def new_labels(limit: int, paths: LabelPaths | None = None) -> MonitoredFigure:
    """The number of mined pictures with a reviewed label that data/labelled does not hold yet."""
    paths = paths or LabelPaths()
    manifest = paths.labelled / MANIFEST
    known = set(read_json(manifest)["pictures"]) if manifest.is_file() else set()
    mined_pictures = batch_digests(find_batches(paths.mined, paths.hard_cases))
    reviewed = {digest for digest, review in read_reviews(paths.reviews).items() if review.label is not None}
    count = len((reviewed & mined_pictures) - known)
    return MonitoredFigure("new_labels", count, limit, "reviewed, not in data/labelled", count >= limit)
