"""Plots of combinations of stages: risk against coverage, accuracy against cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascade.evaluate.prior import describe_prior, prior_weights
from cascade.evaluate.scores import mcc
from cascade.probability import CUT
from tasks.common.files import new_folder
from tasks.common.plots import new_figure, risk_coverage, save_figure

if TYPE_CHECKING:
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
        _risk_coverage(report, [*alone, report.on], partial / "risk_coverage.png")
    _accuracy_cost(report, folder.with_name("accuracy_cost.png"))


def _risk_coverage(report: SelectionReport, shown: list[tuple[str, ...]], path: Path) -> None:
    figure, axes = new_figure()
    for stages in dict.fromkeys(shown):
        run = report.runs[stages]
        weight = prior_weights(run.label, report.prior)
        coverage, risk = risk_coverage(run.label.astype(float), run.p, weight)
        axes.plot(coverage, risk, label=_name(stages), linewidth=2 if len(stages) > 1 else 1)
    axes.set(xlabel="share answered, most certain first", ylabel="share wrong among them", xlim=(0, 1.01))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    axes.set_title(f"challenge set, {describe_prior(report.prior)}: each stage alone, and the cascade", fontsize=9)
    save_figure(figure, path)


def _accuracy_cost(report: SelectionReport, path: Path) -> None:
    """Milliseconds are a mean over the views as they are."""
    figure, axes = new_figure()
    for stages, run in report.runs.items():
        x, y = float(run.milliseconds.mean()), mcc(run.label, run.p > CUT, prior_weights(run.label, report.prior))
        axes.scatter([x], [y], marker="*" if stages == report.on else "o", s=120 if stages == report.on else 25)
        axes.annotate(_name(stages), (x, y), textcoords="offset points", xytext=(4, 4), fontsize=5)
    axes.set(xlabel="mean ms an image", ylabel="MCC", xscale="log")
    axes.grid(alpha=0.3)
    title = f"challenge set, {describe_prior(report.prior)}: every combination of stages; the star is switched on"
    axes.set_title(title, fontsize=8)
    save_figure(figure, path)


def _name(stages: tuple[str, ...]) -> str:
    return " > ".join(stages)
