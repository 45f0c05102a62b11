"""Plots of combinations of stages: risk against coverage, accuracy against cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascade.evaluate.scores import mcc
from cascade.probability import CUT
from tasks.common.files import new_folder
from tasks.common.plots import new_figure, risk_coverage, save_figure

if TYPE_CHECKING:
    from tasks.selection.replay import ReplayResult
    from tasks.selection.report import SelectionReport


def draw_selection(report: SelectionReport, folder: Path) -> None:
    """Write risk_coverage.png into a fresh `folder`, and accuracy_cost.png beside it.

    The second shows timings, which differ between two runs: DVC tracks the folder and must not see it.

    Args:
        report: runs of all combinations.
        folder: is replaced as a whole.
    """
    alone = [stages for stages in report.runs if len(stages) == 1]
    with new_folder(folder) as partial:
        _risk_coverage(report.runs, [*alone, report.on], partial / "risk_coverage.png")
    _accuracy_cost(report.runs, report.on, folder.with_name("accuracy_cost.png"))


def _risk_coverage(runs: dict[tuple[str, ...], ReplayResult], shown: list[tuple[str, ...]], path: Path) -> None:
    figure, axes = new_figure()
    for stages in dict.fromkeys(shown):
        run = runs[stages]
        coverage, risk = risk_coverage(run.label.astype(float), run.p)
        axes.plot(coverage, risk, label=_name(stages), linewidth=2 if len(stages) > 1 else 1)
    axes.set(xlabel="share answered, most certain first", ylabel="share wrong among them", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    axes.set_title("challenge set: each stage alone, and the cascade", fontsize=9)
    save_figure(figure, path)


def _accuracy_cost(runs: dict[tuple[str, ...], ReplayResult], on: tuple[str, ...], path: Path) -> None:
    figure, axes = new_figure()
    for stages, run in runs.items():
        x, y = float(run.milliseconds.mean()), mcc(run.label, run.p > CUT)
        axes.scatter([x], [y], marker="*" if stages == on else "o", s=120 if stages == on else 25)
        axes.annotate(_name(stages), (x, y), textcoords="offset points", xytext=(4, 4), fontsize=5)
    axes.set(xlabel="mean ms an image", ylabel="MCC", xscale="log")
    axes.grid(alpha=0.3)
    axes.set_title("challenge set: every combination of stages; the star is switched on", fontsize=9)
    save_figure(figure, path)


def _name(stages: tuple[str, ...]) -> str:
    return " > ".join(stages)
