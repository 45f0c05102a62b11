"""Ratios over commits, as docs/bench.svg: a panel a row, a colour a kind of machine."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.common.files import write_bytes
from tests.bench.history import Entry, Figure
from tests.bench.rows import Bench, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT = Path("docs/bench.svg")
COLUMNS, PANEL = 3, (3.6, 2.3)
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
# as many commits as the ticks of a panel can name; older ones stay in the history
MOST = 12


def draw(entries: Sequence[Entry], benches: Sequence[Bench], path: Path = PLOT) -> bool:
    """Write the plot and say whether there is any; the same history gives the same bytes.

    Args:
        entries: oldest first.
        benches: whose rows are drawn, where they have a ratio.
        path: the SVG.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as figure_class

    all_rows = [row for bench in benches for row in bench.rows]
    rows = [row for row in all_rows if any(row.name in one.rows and one.rows[row.name].ratio for one in entries)]
    if not rows:
        return False
    commits = list(dict.fromkeys(one.commit for one in entries))[-MOST:]
    kinds = list(dict.fromkeys(one.machine.kind for one in entries))
    high = -(-len(rows) // COLUMNS)
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 8}):
        size = (COLUMNS * PANEL[0], high * PANEL[1] + 0.2 * len(kinds) + 0.2)
        figure = figure_class(figsize=size, layout="constrained")
        panels = figure.subplots(high, COLUMNS, squeeze=False).flat
        for row, axes in zip(rows, panels, strict=False):
            for number, kind in enumerate(kinds):
                found = {
                    one.commit: one.rows[row.name]
                    for one in entries
                    if one.machine.kind == kind and row.name in one.rows
                }
                _line(axes, [found.get(commit) for commit in commits], COLOURS[number % len(COLOURS)])
            _label(axes, row, commits)
        for axes in list(panels):
            axes.set_axis_off()
        handles = [_handle(COLOURS[number % len(COLOURS)], kind) for number, kind in enumerate(kinds)]
        figure.legend(handles=handles, loc="outside lower left", fontsize=7)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(path, stream.getvalue())
    return True


def _line(axes: Axes, figures: Sequence[Figure | None], colour: str) -> None:
    """Medians with their ranges; a commit without a figure is passed over."""
    there = [(at, one) for at, one in enumerate(figures) if one is not None and one.ratio is not None]
    ratios = [one.ratio or 0.0 for _, one in there]
    spread = [
        [ratio - one.low for ratio, (_, one) in zip(ratios, there, strict=True)],
        [one.high - ratio for ratio, (_, one) in zip(ratios, there, strict=True)],
    ]
    axes.errorbar([at for at, _ in there], ratios, yerr=spread, marker="o", markersize=4, capsize=3, color=colour)


def _label(axes: Axes, row: Row, commits: Sequence[str]) -> None:
    axes.set_title(f"{row.title}\nagainst {row.peer}", fontsize=8)
    axes.set_ylabel("lower is better" if row.better == "lower" else "higher is better", fontsize=7)
    if row.target is not None and row.target_of == "ratio":
        axes.axhline(row.target, color="grey", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(commits)), [commit[:7] for commit in commits], rotation=30, ha="right", fontsize=6)
    axes.set_xlim(-0.5, len(commits) - 0.5)
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)


def _handle(colour: str, kind: str) -> object:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", markersize=4, label=kind)
