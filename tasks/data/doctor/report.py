"""All checks over one set, and what came of them as plain data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cascade.evaluate.scores import constant_answer
from cascade.probability import LABELS
from tasks.data.doctor.balance import check_balance, roadwork_share
from tasks.data.doctor.findings import Doubt, Finding, listed, percent
from tasks.data.doctor.leak import SourceScore, check_sources, score_sources
from tasks.data.doctor.order import check_order
from tasks.data.doctor.twins import Twins, check_against, check_twins, find_twins, find_twins_against
from tasks.data.examine import Facts
from tasks.data.readers import Rejected

# of all rows; a damaged file happens in every collection, this many are a fault of the copy
MAX_UNREADABLE = 0.05
LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Other:
    """A second set that the first must not share pictures with."""

    name: str
    pictures: Sequence[Facts]


@dataclass(frozen=True)
class DoctorReport:
    """What the doctor found.

    Attributes:
        counts: plain JSON: pictures, labels, splits, sources, places, constant answer, source score, left out.
        findings: worst first.
    """

    counts: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there is no error; warnings do not count."""
        return not any(one.level == "error" for one in self.findings)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Pictures that people should look at, each once a finding."""
        return tuple(doubt for one in self.findings for doubt in one.doubts)

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        findings = [{"level": one.level, "check": one.check, "message": one.message} for one in self.findings]
        return {**self.counts, "findings": findings, "sound": self.is_sound}


def examine_set(
    pictures: Sequence[Facts], rejected: Sequence[Rejected], *, bits: int, other: Other | None = None
) -> DoctorReport:
    """Look at a set with all checks.

    Args:
        pictures: what can be used, in reading order.
        rejected: what cannot.
        bits: hashes that differ in at most so many are near-duplicates.
        other: a set to compare with.
    """
    score = score_sources(pictures)
    twins = find_twins(pictures, bits)
    shared = find_twins_against(pictures, other.pictures, bits) if other else []
    findings = [
        *check_balance(pictures),
        *check_order(pictures),
        *check_sources(pictures, score),
        *check_twins(twins),
        *(check_against(shared, other.name) if other else []),
        *_check_places(pictures),
        *_check_rejected(rejected, len(pictures)),
    ]
    counts = _counts(pictures, rejected, score, twins)
    if other:
        counts["against"] = {"name": other.name, "pictures": len(other.pictures), "shared": len(shared)}
    return DoctorReport(counts, tuple(sorted(findings, key=lambda one: LEVELS.index(one.level))))


def _check_places(pictures: Sequence[Facts]) -> list[Finding]:
    """Places in two splits are frames of one drive on both sides; a set without places cannot be split by them."""
    splits: dict[str, set[str]] = defaultdict(set)
    for one in pictures:
        splits[one.place].add(one.split)
    both = [f"{place} ({', '.join(sorted(found))})" for place, found in splits.items() if len(found) > 1]
    found = []
    if both:
        message = f"{len(both)} places lie in two splits: {listed(both)}; a place has one split"
        found.append(Finding("error", "places", message))
    if pictures and all(one.place == one.sha256 for one in pictures):
        message = (
            "every picture is its own place: frames of one drive may lie in two splits. Name what belongs together: "
            "column group of manifest.csv, or column place of parquet"
        )
        found.append(Finding("note", "places", message))
    return found


def _check_rejected(rejected: Sequence[Rejected], usable: int) -> list[Finding]:
    if not rejected:
        return []
    reasons = Counter(one.reason for one in rejected)
    words = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    share = len(rejected) / (len(rejected) + usable)
    # what validators leave out is no fault of the copy
    damaged = sum(count for reason, count in reasons.items() if reason != "description") / (len(rejected) + usable)
    first = f"{rejected[0].name}: {rejected[0].detail}"
    message = f"{len(rejected)} rows cannot be used ({percent(share)}): {words}; the first: {first}"
    return [Finding("error" if damaged > MAX_UNREADABLE else "warning", "left out", message)]


def _counts(
    pictures: Sequence[Facts], rejected: Sequence[Rejected], score: SourceScore, twins: Sequence[Twins]
) -> dict[str, Any]:
    places = Counter(one.place for one in pictures)
    return {
        "pictures": len(pictures),
        "labels": _by_label(pictures),
        "splits": {name: _by_label(ones) | {"places": _places(ones)} for name, ones in _groups(pictures, "split")},
        "sources": {name: _by_label(ones) for name, ones in _groups(pictures, "source")},
        "places": {"count": len(places), "largest": max(places.values(), default=0)},
        "roadwork_share": roadwork_share(pictures),
        "constant_answer": constant_answer(roadwork_share(pictures)),
        "label_from_source": {"balanced_accuracy": score.accuracy, "alone": dict(score.alone)},
        "near_duplicates": len(twins),
        "left_out": dict(Counter(one.reason for one in rejected)),
    }


def _groups(pictures: Sequence[Facts], key: str) -> list[tuple[str, list[Facts]]]:
    groups: dict[str, list[Facts]] = defaultdict(list)
    for one in pictures:
        groups[getattr(one, key)].append(one)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def _by_label(pictures: Sequence[Facts]) -> dict[str, int]:
    return {name: sum(one.label == number for one in pictures) for number, name in enumerate(LABELS)}


def _places(pictures: Sequence[Facts]) -> int:
    return len({one.place for one in pictures})
