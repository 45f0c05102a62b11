"""The table of `make bench`: for the terminal, and as Markdown for docs/bench.md."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.table import Table

from tests.bench.history import Entry, Figure, Machine
from tests.bench.rows import Bench, Row
from tests.bench.verdict import Line, reached, regressed, worse_by

LINE = 120  # of the docs
HEADS = ("row", "ours", "peer", "ratio (range)", "target", "last kept")


def terminal(lines: Sequence[Line], machine: Machine, title: str) -> Table:
    """All rows of a run, with the machine below."""
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    table = Table(*HEADS, title=title, caption=f"{machine.kind}\n{libraries}", caption_justify="left")
    table.columns[0].no_wrap = True
    for line in lines:
        style = "red" if regressed(line) or line.state == "not measured" else ""
        table.add_row(*cells(line), style=style)
    return table


def cells(line: Line) -> tuple[str, ...]:
    """A line as text, in the order of `HEADS`."""
    name = f"{line.row.name}\n{line.row.title}"
    if line.figure is None:
        # why a bench has no figures is said once, below the table
        shown = line.state if line.state == "not measured" else f"{line.state}: {line.reason}"
        return (name, shown, line.row.peer, "", target(line.row), _before(line))
    shown = f"{_ours(line.row, line.figure)}{f' ({line.reason})' if line.reason else ''}"
    goal = target(line.row)
    if goal and reached(line) is False:
        goal += ", missed"
    return (name, shown, _peer(line.row, line.figure), _ratio(line.row, line.figure), goal, _before(line))


def markdown(entries: Sequence[Entry], benches: Sequence[Bench]) -> str:
    """The last kept figures of every kind of machine, a table each."""
    kinds = list(dict.fromkeys(one.machine.kind for one in entries))
    if not kinds:
        return "No figures are kept yet."
    return "\n\n".join(_of_kind(kind, [one for one in entries if one.machine.kind == kind], benches) for kind in kinds)


def _of_kind(kind: str, entries: Sequence[Entry], benches: Sequence[Bench]) -> str:
    rows = [f"{kind}:", "", "| | ours | peer | ratio (range) | target | commit |", "|---|---|---|---|---|---|"]
    for bench in benches:
        for row in bench.rows:
            found = [one for one in entries if row.name in one.rows]
            if found:
                figure = found[-1].rows[row.name]
                parts = (row.title, _ours(row, figure), _peer(row, figure), _ratio(row, figure), target(row))
                rows.append(f"| {' | '.join(parts)} | {found[-1].commit[:8]} |")
    libraries = ", ".join(f"{name} {version}" for name, version in entries[-1].machine.libraries.items())
    return "\n".join([*rows, "", *wrap(f"Libraries: {libraries}.", LINE)])


def target(row: Row) -> str:
    """A row's target in words; empty without one."""
    if row.target is None:
        return ""
    sign = "≤" if row.better == "lower" else "≥"
    return f"{sign} {row.target:g}{'' if row.target_of == 'ratio' else f' {row.unit}'.rstrip()}"


def _ours(row: Row, figure: Figure) -> str:
    return _with_unit(figure.ours, row.unit) + (_range(figure) if figure.ratio is None else "")


def _peer(row: Row, figure: Figure) -> str:
    return row.peer if figure.peer is None else f"{row.peer}: {_with_unit(figure.peer, row.unit)}"


def _ratio(row: Row, figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    better = ", lower is better" if row.better == "lower" else ""
    return f"{figure.ratio:.3g}{_range(figure)}{better}"


def _range(figure: Figure) -> str:
    return "" if figure.low == figure.high else f" ({figure.low:.3g} to {figure.high:.3g})"


def _with_unit(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}".rstrip() if value >= 1000 else f"{value:.3g} {unit}".rstrip()


def _before(line: Line) -> str:
    if line.before is None:
        return "none"
    entry, figure = line.before
    value = figure.ours if figure.ratio is None else figure.ratio
    text = f"{value:.3g} of {entry.commit[:8]}"
    if line.state != "measured" or line.figure is None or line.figure.ratio is None or figure.ratio is None:
        return text
    share = worse_by(line.row, line.figure, figure)
    return f"{text}, {abs(share):.1%} {'worse' if share > 0 else 'better'}"
