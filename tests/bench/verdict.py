"""What a row's figure means: target reached, worse than the last kept one, not measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from tests.bench.history import Entry, Figure, last_kept
from tests.bench.rows import Bench, Row

# of a ratio, against the last kept one
LIMIT = 0.10
State = Literal["measured", "not measured", "left out", "kept"]


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        row: what it is about.
        bench: that measures it.
        state: "kept" is a row on demand that shows its last kept figure.
        figure: None where there is none.
        before: the last kept figure of another commit on a machine of this kind, and its entry.
        reason: why there is no new figure.
    """

    row: Row
    bench: Bench
    state: State
    figure: Figure | None = None
    before: tuple[Entry, Figure] | None = None
    reason: str = ""


def make_lines(
    benches: Iterable[Bench],
    found: dict[str, Figure],
    reasons: dict[str, str],
    chosen: Collection[str],
    history: list[Entry],
    kind: str,
    commit: str,
) -> list[Line]:
    """A line for every row there is.

    Args:
        benches: all of them.
        found: figures of this run by row.
        reasons: why a bench has no figures, by its name.
        chosen: names of the benches that were to be measured.
        history: all kept entries.
        kind: of this machine.
        commit: that was measured; its own entries are no comparison.
    """
    lines = []
    for bench in benches:
        for row in bench.rows:
            before = last_kept(history, row.name, kind, commit)
            if bench.name not in chosen:
                lines.append(_left_out(row, bench, before, last_kept(history, row.name, kind, "")))
            elif row.name in found:
                lines.append(Line(row, bench, "measured", found[row.name], before))
            else:
                reason = reasons.get(bench.name, "the bench wrote no figures of it")
                lines.append(Line(row, bench, "not measured", None, before, reason))
    return lines


def _left_out(row: Row, bench: Bench, before: tuple[Entry, Figure] | None, last: tuple[Entry, Figure] | None) -> Line:
    if not bench.on_demand:
        return Line(row, bench, "left out", None, before, "by name")
    if last is None:
        return Line(row, bench, "left out", None, None, f"never kept on this kind of machine; --with {bench.name}")
    return Line(row, bench, "kept", last[1], before, f"of {last[0].commit[:8]}, {last[0].date[:10]}")


def worse_by(row: Row, now: Figure, before: Figure) -> float:
    """By what share the ratio is worse than before; below 0 where it is better, 0 where there is none."""
    if now.ratio is None or before.ratio is None:
        return 0.0
    change = (now.ratio - before.ratio) / before.ratio
    return change if row.better == "lower" else -change


def regressed(line: Line) -> bool:
    """Whether a row that is guarded is worse by more than the limit."""
    if line.state != "measured" or line.before is None or line.figure is None or not line.row.guarded:
        return False
    return worse_by(line.row, line.figure, line.before[1]) > LIMIT


def reached(line: Line) -> bool | None:
    """Whether the target is; None where there is no figure, or no target."""
    row, figure = line.row, line.figure
    value = figure and (figure.ratio if row.target_of == "ratio" else figure.ours)
    if row.target is None or value is None:
        return None
    return value <= row.target if row.better == "lower" else value >= row.target


def problems(lines: Iterable[Line], accepted: Collection[str]) -> list[str]:
    """What fails the run, a sentence each: rows that are worse and not accepted, and rows without a figure."""
    lines = list(lines)
    found = [_worse(line) for line in lines if regressed(line) and line.row.name not in accepted]
    missing: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.state == "not measured":
            missing.setdefault((line.bench.name, line.reason), []).append(line.row.name)
    return found + [
        f'{", ".join(rows)}: not measured: {reason}; ARGS="--without {bench}" leaves it out'
        for (bench, reason), rows in missing.items()
    ]


def _worse(line: Line) -> str:
    assert line.figure is not None
    assert line.before is not None
    entry, before = line.before
    share = worse_by(line.row, line.figure, before)
    return (
        f"{line.row.name} ({line.row.title}): ratio {line.figure.ratio:.3g} "
        f"({line.figure.low:.3g} to {line.figure.high:.3g}), {share:.1%} worse than {before.ratio:.3g} of commit "
        f"{entry.commit[:8]}. Measure again when nothing else runs: make bench "
        f'ARGS="--only {line.bench.name} --again". If it stays, `git bisect` between the two commits finds the change; '
        f'if the change is wanted: ARGS="--accept {line.row.name}"'
    )
