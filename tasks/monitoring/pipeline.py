"""What the pipeline left on disk, as series: ledger, batches, reviews, the gate's newest report, labelled traffic.

All is read anew each time, so that a run that was killed, or a file that a person put back, leaves no wrong count.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import Params
from tasks.data.batches import HARD_CASES, MANIFEST
from tasks.data.reviews import DECISIONS, REVIEWS, read_reviews
from tasks.monitoring import labelled, series
from tasks.monitoring.textfile import Samples
from tasks.release import ledger

if TYPE_CHECKING:
    from tasks.release.gate.report import GateReport

CHECKS = ("floor", "slice", "latency", "memory", "parity", "golden", "must_pass", "invariance", "tampered")
DAY = 86400.0


@dataclass(frozen=True)
class Places:
    """Where the pipeline keeps what is counted; `serve.ledger` and `serve.gate_reports` name the others."""

    hard_cases: Path = HARD_CASES
    reviews: Path = REVIEWS


def samples(params: Params, places: Places | None = None) -> Samples:
    """Read everything.

    Raises:
        DataError: a review or a manifest is damaged.
    """
    places = places or Places()
    lines = ledger.read(params.serve.ledger) if params.serve.ledger else []
    found: dict[Any, Any] = {**releases(lines, params.monitoring.retrain_days), **mined(places)}
    found |= gate(params.serve.gate_reports)
    found |= shadow(params, lines)
    if lines:
        live = labelled.answered(params.inbox.folder, places.hard_cases, places.reviews, lines[-1].release)
        found |= labelled.figures(live, params.monitoring.min_labelled)
    return found


def releases(lines: list[ledger.Promotion], retrain_days: float) -> Samples:
    """The champion, its age and the deadline; after a rollback the age is that of the release that is live again."""
    counts = Counter({"promote": 0, "rollback": 0}) + Counter(line.action for line in lines)
    promotions = {(action,): counts[action] for action in ("promote", "rollback")}
    if not lines:
        return {series.PROMOTIONS: promotions}
    live = lines[-1].release
    first = next(_seconds(line.when) for line in lines if line.release == live)
    return {
        series.PROMOTIONS: promotions,
        series.CHAMPION: {(live,): 1},
        series.FIRST_LIVE: {(): first},
        series.DEADLINE: {(): first + retrain_days * DAY},
    }


def mined(places: Places) -> Samples:
    """Pictures of the daily batches by the reason why they were chosen, and the reviews."""
    from tasks.common.files import read_json

    reasons: Counter[str] = Counter()
    pictures: set[str] = set()
    for file in sorted(places.hard_cases.glob(f"*/{MANIFEST}")):
        document = read_json(file)["pictures"]
        pictures |= set(document)
        reasons.update(str(facts["reason"]) for facts in document.values())
    reviews = read_reviews(places.reviews)
    decisions = Counter(review.decision for review in reviews.values())
    return {
        series.MINED: {(reason,): count for reason, count in sorted(reasons.items())},
        series.UNREVIEWED: {(): len(pictures - set(reviews))},
        series.REVIEWS: {(decision,): decisions[decision] for decision in DECISIONS},
    }


def gate(folder: Path | None) -> Samples:
    """The newest report of the gate, by the time that it states."""
    report = _newest(folder)
    if report is None:
        return {}
    measures = {
        (one.name, side): figure.value
        for one in report.comparisons
        for side, figure in (("challenger", one.challenger), ("champion", one.champion))
        if figure.value is not None
    }
    return {
        series.GATE_CHECK: {(check,): float(check not in report.failures) for check in CHECKS},
        series.GATE_PASSED: {(): float(report.passes)},
        series.GATE_WHEN: {(): _seconds(report.when)},
        series.GATE_MEASURE: measures,
    }


def _newest(folder: Path | None) -> GateReport | None:
    from tasks.release.gate.floors import GateError
    from tasks.release.gate.report import JSON_FILE, read_report

    found = []
    for file in sorted(folder.glob(f"*/{JSON_FILE}")) if folder else []:
        try:
            found.append(read_report(file.parent))
        except GateError:
            # of an older version; the newest ones are what counts
            continue
    return max(found, key=lambda report: _seconds(report.when), default=None)


def shadow(params: Params, lines: list[ledger.Promotion]) -> Samples:
    """Pictures that the champion and the release before it both answered, by the service's cache of answers."""
    from cascade.api.cache import DATABASE
    from tasks.release.promotion.watch import label_pairs

    cache = params.cache.folder
    if not lines or lines[-1].previous is None or cache is None or not (cache / DATABASE).is_file():
        return {}
    try:
        pairs = [labels for _, labels in label_pairs(cache / DATABASE, lines[-1].release, lines[-1].previous)]
    except sqlite3.Error:
        # the service puts a damaged cache aside
        return {}
    differ = sum(mine != theirs for mine, theirs in pairs)
    return {series.SHADOW_COMPARED: {(): len(pairs)}, series.SHADOW_DIFFERENT: {(): differ}}


def _seconds(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()
