"""When mining asks for a retrain: a large batch, new labels, or traffic that is not what the release first saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascade.config import InboxParams
from cascade.inbox.store import CONTROL, InboxError, entries
from tasks.common.files import read_json, write_json
from tasks.data.reviews import REVIEWS, read_reviews
from tasks.data.schema import read_records
from tasks.label import BATCH, HARD_CASES, LABELLED, MANIFEST, MINED, find_batches

STATE = Path("var/drift")


@dataclass(frozen=True)
class MonitoredFigure:
    """A figure against its limit.

    Attributes:
        value: None where there is not enough to measure on.
        note: what it was measured on, or why it was not.
        is_passed: whether it asks for a retrain.
    """

    name: str
    value: float | None
    limit: float
    note: str
    is_passed: bool


def psi(reference: Sequence[float], current: Sequence[float], bins: int) -> float:
    """Population stability index of two samples of probabilities, over quantiles of the first.

    Sum of (q - p) ln(q / p) over the bins' shares (Siddiqi 2006; above 0.25 is taken for a shift). Half a picture is
    added to each bin, so that an empty one stays finite. Without any drift n pictures on both sides still give about
    2 (bins - 1) / n.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for sample in (reference, current):
        counts = np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    p, q = shares
    return float(((q - p) * np.log(q / p)).sum())


def drift(params: InboxParams, release: str, date: str, state: Path = STATE) -> MonitoredFigure:
    """Compare the newest pictures of the random slice with the first ones that the same release answered.

    The first ones are written to `state` once there are enough, and stay. The figure of every date is kept beside them:
    only as many dates in a row as `breaches` says ask for a retrain. A second run on a date replaces its figure.

    Args:
        params: section `inbox`.
        release: whose answers count; a new release starts anew.
        date: of this run, ISO.
        state: folder of one file a release.
    """
    rules = params.drift
    answers = control_predictions(params.folder, release)
    file = state / f"{release}.json"
    document: dict[str, Any] = read_json(file) if file.is_file() else {"reference": {}, "figures": {}}
    if not document["reference"]:
        if len(answers) < rules.min_pictures:
            return _unknown(rules.max_psi, f"{len(answers)} of {rules.min_pictures} pictures to compare with")
        document["reference"] = dict(answers[: rules.min_pictures])
        write_json(file, document)
    first: dict[str, float] = document["reference"]
    recent = [value for digest, value in answers if digest not in first][-rules.min_pictures :]
    if len(recent) < rules.min_pictures:
        return _unknown(rules.max_psi, f"{len(recent)} of {rules.min_pictures} new pictures")
    document["figures"][date] = value = round(psi(list(first.values()), recent, rules.bins), 6)
    write_json(file, document)
    last = [document["figures"][day] for day in sorted(document["figures"])[-rules.breaches :]]
    passed = len(last) == rules.breaches and min(last) > rules.max_psi
    note = f"{len(recent)} pictures against {len(first)}; asks when {rules.breaches} runs in a row are above the limit"
    return MonitoredFigure("drift_psi", value, rules.max_psi, note, passed)


def control_predictions(inbox: Path, release: str) -> list[tuple[str, float]]:
    """Digest and probability of the random slice's pictures that a release answered, oldest first."""
    found: list[tuple[float, str, float]] = []
    for entry in entries(inbox):
        if entry.share != CONTROL:
            continue
        try:
            trace, when = entry.trace(), entry.path.stat().st_mtime
        except (FileNotFoundError, InboxError):
            continue
        if trace.get("release") == release and isinstance(trace.get("probability"), float):
            found.append((when, entry.sha256, trace["probability"]))
    return [(digest, value) for _, digest, value in sorted(found)]


def batch_size(batch: Path, limit: int) -> MonitoredFigure:
    """How many pictures a batch holds; none where it is not there."""
    count = len(batch_digests([batch])) if (batch / MANIFEST).is_file() else 0
    return MonitoredFigure("batch_pictures", count, limit, f"in {batch}", count >= limit)


def new_labels(
    limit: int,
    *,
    mined: Path = MINED,
    hard_cases: Path = HARD_CASES,
    reviews: Path = REVIEWS,
    labelled: Path = LABELLED,
) -> MonitoredFigure:
    """How many mined pictures have a reviewed label that data/labelled does not hold yet."""
    known = set(read_json(labelled / MANIFEST)["pictures"]) if (labelled / MANIFEST).is_file() else set()
    mined_pictures = batch_digests(find_batches(mined, hard_cases))
    reviewed = {digest for digest, review in read_reviews(reviews).items() if review.label is not None}
    count = len((reviewed & mined_pictures) - known)
    return MonitoredFigure("new_labels", count, limit, "reviewed, not in data/labelled", count >= limit)


def batch_digests(batches: Sequence[Path]) -> set[str]:
    """The digests of all pictures of batches that are there."""
    files = [batch / BATCH for batch in batches if (batch / BATCH).is_file()]
    return {record["sha256"] for file in files for record in read_records(file, ["sha256"], batch=4096)}


def _unknown(limit: float, note: str) -> MonitoredFigure:
    return MonitoredFigure("drift_psi", None, limit, note, is_passed=False)
