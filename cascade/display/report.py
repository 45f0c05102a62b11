"""The report of `streetvision evaluate`, shown. Texts from files go through `Text`, which knows no markup."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cascade.display.status import figure
from cascade.evaluate.folder import EvaluationReport
from cascade.evaluate.prior import describe_prior


def report_tables(report: EvaluationReport) -> list[Table]:
    """The metrics with their intervals and the constant answer's beside them, then one table a slice column."""
    counted = f"{figure('n', report.metrics['n'])} images in {report.groups} groups"
    title = f"Release {report.release}: {counted}, {describe_prior(report.prior)}"
    table = Table("metric", "value", "95 % interval by group", "constant answer", title=title, title_justify="left")
    for name, value in report.metrics.items():
        interval = report.intervals.get(name)
        shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        constant = figure(name, report.constant[name]) if name in report.constant else ""
        table.add_row(name, figure(name, value), shown, constant)
    return [table, *(_slice_table(name, values) for name, values in report.slices.items())]


def show_report(report: EvaluationReport, *, as_json: bool) -> int:
    """Print a report, on stderr what was left out of it, and give the exit code: 1 where something was."""
    for one in report.skipped:
        print(one["message"], file=sys.stderr)
    if report.skipped:
        seen = int(report.metrics["n"]) + len(report.skipped)
        print(f"left out: {len(report.skipped)} of {seen}; the metrics are of the rest", file=sys.stderr)
    if as_json:
        json.dump(report.model_dump(), sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        Console().print(*report_tables(report), sep="\n")
    return 1 if report.skipped else 0


def _slice_table(name: str, values: dict[str, dict[str, float]]) -> Table:
    table = Table(name, "n", "mcc", "accuracy", "auc", title=f"By {name}", title_justify="left")
    for value, metrics in values.items():
        # a slice of one class has no correlation; its 0 would read as a failure
        shown = ("n", "mcc", "accuracy", "auc") if "auc" in metrics else ("n", "accuracy")
        figures = (figure(key, metrics[key]) if key in shown else "" for key in ("n", "mcc", "accuracy", "auc"))
        table.add_row(Text(value), *figures)
    return table
