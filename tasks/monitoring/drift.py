"""Drift: the newest traffic against the first that a release answered, by embeddings, probabilities and exits.

Only the random slice of the inbox counts: what mining keeps besides is hard by choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascade.inbox.store import CONTROL, PICTURE, InboxError, entries
from tasks.config.monitoring import DriftParams
from tasks.monitoring import series
from tasks.monitoring.drift_report import write_report
from tasks.monitoring.drift_state import Answer, DriftState, Embed
from tasks.monitoring.figures import MonitoredFigure
from tasks.monitoring.textfile import Samples
from tasks.monitoring.two_samples import Signal, compare, moved

STATE = Path("var/drift")
NAME = "drift_breaches"
# of a window: runs that see mostly the same pictures are not independent evidence
NEW_SHARE = 0.5


def drift(
    rules: DriftParams, inbox: Path, release: str, date: str, *, embed: Embed, space: str, state: Path = STATE
) -> MonitoredFigure:
    """Compare the newest pictures of the random slice with the first ones that the same release answered.

    The first ones are the reference once there are enough, and stay. A run whose window holds fewer than `NEW_SHARE`
    new pictures adds no figure, and a second run on a date replaces its figure. A retrain is requested where the newest
    `breaches` figures all have a corrected p-value at or below the level.

    Args:
        rules: section `monitoring.drift`.
        inbox: folder of the service's inbox.
        release: id of the release whose answers count; another one starts anew.
        date: of this run, ISO.
        embed: computes embeddings of pictures.
        space: names what `embed` computes.
        state: folder of one folder a release.
    """
    answers = control_answers(inbox, release)
    kept = DriftState(state / release, space)
    if not kept.reference and not _take_reference(kept, answers, rules, inbox, embed):
        count = f"{min(len(answers), rules.reference)} of {rules.reference}"
        return _figure(kept, rules, f"{count} pictures to compare with")
    first = {one.sha256 for one in kept.reference}
    recent = [one for one in answers if one.sha256 not in first][-rules.window :]
    if len(recent) < rules.window:
        return _figure(kept, rules, f"{len(recent)} of {rules.window} new pictures")
    new, wanted = len({one.sha256 for one in recent} - kept.window), int(NEW_SHARE * rules.window)
    if new < wanted and date not in kept.figures:
        return _figure(kept, rules, f"{new} of {wanted} pictures since the last figure")
    signals = _compare(kept, recent, rules, inbox, embed, date)
    parts = (f"{name} {one.score:.3g} (p {one.p:.3g})" for name, one in signals.items())
    return _figure(kept, rules, f"{', '.join(parts)}; {len(recent)} pictures against {len(first)}")


def _take_reference(kept: DriftState, answers: Sequence[Answer], rules: DriftParams, inbox: Path, embed: Embed) -> bool:
    """Make the first answers the reference, where there are enough whose pictures are still there."""
    if len(answers) < rules.reference:
        return False
    first = list(answers[: rules.reference])
    kept.pictures(first, lambda digest: _file(inbox, digest), embed)
    kept.start([one for one in first if kept.has_embedding(one.sha256)])
    return bool(kept.reference)


def _compare(
    kept: DriftState, recent: Sequence[Answer], rules: DriftParams, inbox: Path, embed: Embed, date: str
) -> Mapping[str, Signal]:
    """Test the newest pictures against the reference, keep the figure, write the report."""

    def load(digest: str) -> bytes | None:
        return _file(inbox, digest)

    before, now = kept.pictures(kept.reference, load, embed), kept.pictures(recent, load, embed)
    signals = compare(before, now, rules.permutations, block=rules.block)
    figure = {
        "signals": {name: {"score": one.score, "p": one.p} for name, one in signals.items()},
        "breach": min(one.p for one in signals.values()) <= rules.level,
        "pictures": {"current": len(now), "reference": len(before)},
    }
    kept.add(date, figure, {one.sha256 for one in recent})
    there = [one for one in recent if kept.has_embedding(one.sha256)]
    farthest = sorted(zip(moved(before, now).tolist(), there, strict=True), key=lambda pair: -pair[0])
    write_report(kept.folder, date, kept.figures, farthest[: rules.shown], load)
    return signals


def control_answers(inbox: Path, release: str) -> list[Answer]:
    """The random slice's pictures that a release answered, oldest first."""
    found: list[tuple[float, Answer]] = []
    for entry in entries(inbox):
        if entry.share != CONTROL:
            continue
        try:
            trace, when = entry.trace(), entry.path.stat().st_mtime
        except (FileNotFoundError, InboxError):
            continue
        p = trace.get("probability")
        if trace.get("release") == release and isinstance(p, float):
            way = f"{trace.get('decided_by', '')} {trace.get('label', '')}"
            found.append((when, Answer(entry.sha256, p, way)))
    return [answer for _, answer in sorted(found, key=lambda pair: (pair[0], pair[1].sha256))]


def breaches_in_a_row(figures: Mapping[str, Mapping[str, Any]]) -> int:
    """How many of the newest figures, by date, are breaches."""
    count = 0
    for date in sorted(figures, reverse=True):
        if not figures[date]["breach"]:
            break
        count += 1
    return count


def samples(state: Path, release: str, rules: DriftParams) -> Samples:
    """The newest figure of a release as series; without one only the level."""
    from tasks.common.files import read_json

    file = state / release / "state.json"
    figures = read_json(file)["figures"] if file.is_file() else {}
    found: dict[Any, Any] = {series.DRIFT_LEVEL: {(): rules.level}}
    if figures:
        newest, count = figures[max(figures)], breaches_in_a_row(figures)
        found |= {
            series.DRIFT_SCORE: {(name,): one["score"] for name, one in newest["signals"].items()},
            series.DRIFT_P: {(name,): one["p"] for name, one in newest["signals"].items()},
            series.DRIFT_BREACHES: {(): count},
            series.DRIFT_EVENT: {(): float(count >= rules.breaches)},
            series.DRIFT_PICTURES: {(window,): number for window, number in newest["pictures"].items()},
        }
    return found


def _figure(kept: DriftState, rules: DriftParams, note: str) -> MonitoredFigure:
    """Breaches in a row against their limit; without any figure there is no value."""
    figures = kept.figures
    count = breaches_in_a_row(figures)
    value = float(count) if figures else None
    return MonitoredFigure(NAME, value, rules.breaches, note, count >= rules.breaches)


def _file(inbox: Path, digest: str) -> bytes | None:
    try:
        return (inbox / CONTROL / f"{digest}{PICTURE}").read_bytes()
    except FileNotFoundError:
        return None
