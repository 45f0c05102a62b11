"""What `/v1/releases` says: figures of the live release, its comparisons with others, and what was live before.

The pipeline writes the gate's reports and the ledger. A service that stands alone has neither, and answers with the
figures that the release itself holds.
"""

from __future__ import annotations

import json
import logging
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from cascade.release.store import GATE, Release

# measures of a release's own report that people compare, in the order in which they are shown
MEASURES = ("mcc", "accuracy", "recall", "precision", "reward")
# reports and lines of the ledger in an answer, and reports that are looked at, the newest of each
GATES, LINES, CANDIDATES = 4, 8, 32
# bytes of a report or a ledger that are read; a report lists every view on which two releases differ
MAX_BYTES = 8_000_000
log = logging.getLogger("streetvision")
Part = TypeVar("Part", bound=BaseModel)


class Known(BaseModel):
    """The part of a file that is shown. What else it holds stays here: names of people, their reasons, and paths."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Figure(Known):
    """A figure with its interval; None is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Measure(Known):
    """One measure of two releases, and its difference, challenger less champion."""

    name: str
    challenger: Figure
    champion: Figure
    difference: Figure
    margin: float | None = None


class Gate(Known):
    """One report of the gate; see docs/gate.md.

    Attributes:
        champion: that served then; None for the first release.
        failures: names of the limits that the challenger broke.
        when: UTC, ISO 8601.
        views, places: of the challenge set.
    """

    challenger: str
    champion: str | None
    verdict: str
    passes: bool
    failures: list[str]
    when: str
    views: int = 0
    places: int = 0
    comparisons: list[Measure] = []


class Change(Known):
    """One line of the ledger: `release` went live in the place of `previous`; `action` is promote or rollback."""

    when: str
    action: str = "promote"
    release: str
    previous: str | None = None


class Releases(BaseModel):
    """Answer of `/v1/releases`.

    Attributes:
        release: id of the one that answers.
        figures: of its validation, by measure.
        gates: reports in which it is the challenger or the champion, the newest first.
        changes: promotions and rollbacks, the newest first.
    """

    model_config = ConfigDict(frozen=True)
    release: str
    figures: dict[str, Figure]
    gates: list[Gate]
    changes: list[Change]


def describe_releases(release: Release, reports: Path | None, ledger: Path | None) -> Releases:
    """Read what there is now; a file that is missing or damaged is left out.

    Args:
        release: that is served.
        reports: folder with `<release>/gate.json`; None: there is none.
        ledger: JSON lines; None: there is none.
    """
    return Releases(
        release=release.id,
        figures=_figures(release.manifest.gate),
        gates=_gates(reports, release.id) if reports else [],
        changes=_changes(ledger) if ledger else [],
    )


def _figures(report: dict[str, JsonValue]) -> dict[str, Figure]:
    found = {name: [_number(report.get(f"{name}{end}")) for end in ("", "_low", "_high")] for name in MEASURES}
    return {
        name: Figure(value=value, low=low, high=high) for name, (value, low, high) in found.items() if value is not None
    }


def _number(value: JsonValue) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _gates(folder: Path, release: str) -> list[Gate]:
    try:
        files = sorted(folder.glob(f"*/{GATE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError as error:
        log.warning("reports of the gate in %s cannot be read: %s", folder, error.strerror)
        return []
    found = (_part(_text(path), Gate, path) for path in files[:CANDIDATES])
    ours = (gate for gate in found if gate is not None and release in (gate.challenger, gate.champion))
    return sorted(islice(ours, GATES), key=lambda gate: gate.when, reverse=True)


def _changes(ledger: Path) -> list[Change]:
    lines = [line for line in _text(ledger).splitlines() if line.strip()]
    found = (_part(line, Change, ledger) for line in reversed(lines))
    return list(islice((change for change in found if change is not None), LINES))


def _text(path: Path) -> str:
    """The end of a text file, as far as it is read; empty where it cannot be."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MAX_BYTES))
            return file.read(MAX_BYTES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return ""


def _part(text: str, model: type[Part], path: Path) -> Part | None:
    try:
        return model.model_validate(json.loads(text))
    except (RecursionError, ValidationError, ValueError):
        # a line of the ledger that a crash cut short is no news; the pipeline reads it with the same tolerance
        log.debug("%s: a part of it is no %s", path, model.__name__)
        return None
