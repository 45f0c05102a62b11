"""Drift: the probabilities of the newest traffic against those that the release gave at first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade.config import InboxParams
from cascade.inbox.store import CONTROL, InboxError, entries
from tasks.common.files import read_json, write_json
from tasks.monitoring.figures import MonitoredFigure

STATE = Path("var/drift")


def psi(reference: Sequence[float], current: Sequence[float], bins: int) -> float:
    """Population stability index of two samples of probabilities, over quantiles of the first.

    Sum of (q - p) ln(q / p) over the bins' shares (Siddiqi 2006, who takes more than 0.25 for a shift). Half a picture
    is added to each bin, so that an empty bin stays finite. Without any drift n pictures on both sides give about
    2 (bins - 1) / n.

    Args:
        reference: probabilities, 0 to 1; their quantiles are the edges of the bins.
        current: probabilities, 0 to 1.
        bins: number of bins; quantiles that coincide make it fewer.
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
    a retrain is requested where the last `breaches` dates are all above the limit. A second run on a date replaces its
    figure.

    Args:
        params: section `inbox`.
        release: id of the release whose answers count; another one starts anew.
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
    against = f"{len(recent)} pictures against {len(first)}"
    note = f"{against}; a retrain follows {rules.breaches} runs in a row above the limit"
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


def _unknown(limit: float, note: str) -> MonitoredFigure:
    return MonitoredFigure("drift_psi", None, limit, note, is_passed=False)
