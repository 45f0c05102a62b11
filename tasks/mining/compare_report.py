"""The comparison of strategies as a table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tasks.common.plots import new_figure, save_figure
from tasks.mining.select import Strategy

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
RESAMPLES = 2000
COLOURS = {"uncertain_diverse": "#d62728", "hardness": "#1f77b4", "uniqueness": "#2ca02c", "random": "#7f7f7f"}


def labels_needed(curves: NDArray[np.float64], target: float, counts: NDArray[np.float64]) -> float:
    """Labels at which the mean curve first reaches `target`, between rounds by a straight line; inf if it never does.

    Args:
        curves: MCC, (seeds, rounds + 1).
        target: MCC to reach.
        counts: labels at every round, (rounds + 1,).
    """
    mean = np.maximum.accumulate(curves.mean(axis=0))
    above = np.flatnonzero(mean >= target)
    if not len(above):
        return float("inf")
    at = int(above[0])
    if at == 0:
        return float(counts[0])
    share = (target - mean[at - 1]) / (mean[at] - mean[at - 1])
    return float(counts[at - 1] + share * (counts[at] - counts[at - 1]))


def table(curves: dict[str, NDArray[np.float64]], counts: NDArray[np.float64]) -> str:
    """Markdown: for each strategy the labels for what random choice reaches, and its mean gain over random.

    Args:
        curves: by strategy, see `labels_needed`.
        counts: labels at every round, (rounds + 1,).
    """
    random, seeds = curves["random"], len(curves["random"])
    half, whole = len(counts) // 2, len(counts) - 1
    targets = [float(random.mean(axis=0)[at]) for at in (half, whole)]
    heads = [f"labels to MCC {target:.3f}" for target in targets]
    lines = [f"| strategy | {heads[0]} | {heads[1]} | MCC at {counts[whole]:.0f} labels | mean MCC over random |"]
    lines.append("|---|---|---|---|---|")
    draws = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    for name in STRATEGIES:
        needed = [_interval_of_labels(curves[name], target, counts, draws) for target in targets]
        gain = (curves[name] - random).mean(axis=1)
        low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
        last = curves[name][:, whole].mean()
        above = "" if name == "random" else f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        lines.append(f"| {name} | {needed[0]} | {needed[1]} | {last:.3f} | {above} |")
    return "\n".join(lines)


def _interval_of_labels(
    curves: NDArray[np.float64], target: float, counts: NDArray[np.float64], draws: NDArray[np.int64]
) -> str:
    values = np.array([labels_needed(curves[rows], target, counts) for rows in draws])
    shown = [
        f"{value:.0f}" if np.isfinite(value) else f"over {counts[-1]:.0f}"
        for value in (labels_needed(curves, target, counts), *np.quantile(values, [0.025, 0.975], method="nearest"))
    ]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def draw(curves: dict[str, NDArray[np.float64]], counts: NDArray[np.float64], target: Path) -> None:
    """Draw mean MCC by labels with 95 % intervals over seeds; arguments as of `table`, and the PNG."""
    figure, axes = new_figure(7.0, 4.4)
    draws = np.random.default_rng(0).integers(len(curves["random"]), size=(RESAMPLES, len(curves["random"])))
    for name, values in curves.items():
        low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975], axis=0)
        axes.plot(counts, values.mean(axis=0), color=COLOURS[name], marker="o", markersize=3, label=name)
        axes.fill_between(counts, low, high, color=COLOURS[name], alpha=0.12, linewidth=0)
    axes.set(xlabel="labelled pictures", ylabel="MCC on the calibration split")
    axes.set_title(f"mean of {len(curves['random'])} seeds, 95 % interval by bootstrap over seeds", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, target)


def best(curves: dict[str, NDArray[np.float64]]) -> str:
    """The strategy with the highest mean MCC over all rounds and seeds."""
    return max(curves, key=lambda name: float(curves[name].mean()))


def margin(curves: dict[str, NDArray[np.float64]]) -> str:
    """The best strategy against the next one: difference of mean MCC with a 95 % interval, paired by seed."""
    first, second = sorted(curves, key=lambda name: -float(curves[name].mean()))[:2]
    gain = (curves[first] - curves[second]).mean(axis=1)
    draws = np.random.default_rng(0).integers(len(gain), size=(RESAMPLES, len(gain)))
    low, high = np.quantile(gain[draws].mean(axis=1), [0.025, 0.975])
    return f"Best on average: `{first}`, {gain.mean():+.3f} ({low:+.3f} to {high:+.3f}) mean MCC over `{second}`."
