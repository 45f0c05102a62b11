"""A run as a picture: scores with their scatter, figures by level, latencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.common.plots import DPI, save_figure
from tasks.subnet.record import Answers
from tasks.subnet.report import Report, Subnet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (12.0, 4.2)


def draw_run(report: Report, answers: Sequence[Answers], subnet: Subnet, timeout: float, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    scores, levels, latencies = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    _scores(scores, report, answers, subnet)
    _levels(levels, report.figures["miners"])
    _latencies(latencies, answers, timeout)
    save_figure(figure, path)


def _scores(axes: Axes, report: Report, answers: Sequence[Answers], subnet: Subnet) -> None:
    """The moving average of this run, the band of the repeats, and the expected reward as a dashed line."""
    ends = ((1 - subnet.confidence) / 2, (1 + subnet.confidence) / 2)
    for number, (one, repeats) in enumerate(zip(answers, report.repeats, strict=True)):
        steps = np.arange(1, len(one.score) + 1)
        low, high = np.quantile(repeats.score, ends, axis=0)
        axes.fill_between(steps, low, high, color=f"C{number}", alpha=0.18, linewidth=0)
        axes.plot(steps, one.score, color=f"C{number}", linewidth=1, label=one.name)
        expected = report.figures["miners"][one.name]["expected_reward"]["value"]
        if expected is not None:
            axes.axhline(expected, color=f"C{number}", linestyle="--", linewidth=1)
    low, high = subnet.hours(1)
    axes.set_title(f"Score, band of {subnet.confidence:.0%} over repeats; dashed: expected reward", fontsize=9)
    axes.set(xlabel=f"challenges asked (each {low:.2f} to {high:.2f} h in the subnet)", ylabel="score", ylim=(0, 1))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _levels(axes: Axes, miners: dict[str, Any]) -> None:
    width = 0.8 / max(1, len(miners))
    for number, miner in enumerate(miners.values()):
        values = [part["mcc"] or 0.0 for part in miner["level"].values()]
        axes.bar(np.arange(len(values)) + (number - (len(miners) - 1) / 2) * width, values, width, color=f"C{number}")
    names = list(next(iter(miners.values()))["level"])
    axes.set_xticks(range(len(names)), names)
    axes.set_title("MCC by level of degradation", fontsize=9)
    axes.set(xlabel="level", ylim=(min(0.0, axes.get_ylim()[0]), 1))
    axes.grid(axis="y", alpha=0.3)


def _latencies(axes: Axes, answers: Sequence[Answers], timeout: float) -> None:
    """Share of the requests that were answered so fast; those that were sent, no kept answers."""
    for number, one in enumerate(answers):
        found = np.sort(one.latencies)
        if len(found):
            axes.step(found, np.arange(1, len(found) + 1) / len(found), where="post", color=f"C{number}")
    axes.axvline(1000 * timeout, color="black", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_title(f"Latency of the requests sent; dotted: {timeout:g} s", fontsize=9)
    axes.set(xlabel="ms", ylabel="share answered", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
