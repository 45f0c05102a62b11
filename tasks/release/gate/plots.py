"""Plots of a comparison as PNG: differences of resamples, slices, and both probabilities of every view."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from tasks.common.plots import new_figure
from tasks.release.gate.comparison import Compared
from tasks.release.gate.report import GateReport, SliceRow
from tasks.release.gate.words import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOOD, BAD, NEUTRAL = "#1a7f37", "#cf222e", "#57606a"
BINS = 40


def draw_plots(report: GateReport, compared: Compared) -> dict[str, bytes]:
    """Give the plots by their captions, as PNG."""
    plots = {f"Difference of {NAMES[one.name]}": _differences(report, compared, one.name)
             for one in report.comparisons if one.name in compared.draws}  # fmt: skip
    if report.slices:
        plots["Accuracy by slice, challenger less champion"] = _slices(report.slices)
    plots["Probability of each view"] = _probabilities(compared)
    return plots


def _differences(report: GateReport, compared: Compared, name: str) -> bytes:
    figure, axes = new_figure(4.6, 3.0)
    one = report.comparison(name)
    draws = compared.draws[name][np.isfinite(compared.draws[name])]
    axes.hist(draws, bins=BINS, color="#8fb8de")
    axes.axvline(0, color=NEUTRAL, linewidth=1)
    if one is not None and one.margin is not None:
        axes.axvline(-one.margin, color=BAD, linestyle="--", linewidth=1, label=f"margin -{one.margin}")
    if one is not None and one.difference.low is not None and one.difference.high is not None:
        axes.axvspan(one.difference.low, one.difference.high, color=GOOD, alpha=0.12, label=f"{report.confidence:.0%}")
    axes.set(xlabel=f"{NAMES[name]}, challenger less champion", ylabel="resamples")
    axes.legend(fontsize=7)
    return _png(figure)


def _slices(rows: tuple[SliceRow, ...]) -> bytes:
    figure, axes = new_figure(5.2, 0.9 + 0.19 * len(rows))
    for place, row in enumerate(reversed(rows)):
        _slice(axes, place, row)
    axes.axvline(0, color=NEUTRAL, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{row.name} {row.value} ({row.views})" for row in reversed(rows)], fontsize=7)
    axes.set(xlabel="difference of accuracy, interval corrected for the number of slices")
    axes.xaxis.label.set_fontsize(8)
    axes.grid(axis="x", alpha=0.3)
    return _png(figure)


def _slice(axes: Axes, place: int, row: SliceRow) -> None:
    value, low, high = row.difference.value, row.difference.low, row.difference.high
    if value is None or low is None or high is None:
        return
    color = NEUTRAL if not row.judged or low <= 0 <= high else GOOD if low > 0 else BAD
    axes.plot([low, high], [place, place], color=color, linewidth=1.5, alpha=1.0 if row.judged else 0.4)
    axes.plot([value], [place], "o", color=color, markersize=4, alpha=1.0 if row.judged else 0.4)


def _probabilities(compared: Compared) -> bytes:
    figure, axes = new_figure(4.6, 4.2)
    new, old = compared.p
    for label, color, name in ((1, "#d1710c", "roadwork"), (0, "#1f6feb", "clear")):
        rows = compared.label == label
        axes.scatter(old[rows], new[rows], s=9, color=color, alpha=0.5, label=name, linewidths=0)
    for line in (axes.axvline, axes.axhline):
        line(0.5, color=NEUTRAL, linewidth=1)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle="--", linewidth=0.8)
    axes.set(xlabel="champion", ylabel="challenger", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(fontsize=8, loc="lower right")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # the version of matplotlib would be the only thing to differ
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
