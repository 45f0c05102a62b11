"""What the command line prints, as rich tables. Texts from files go through `Text`, which knows no markup."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from cascade.answer import Answer
from cascade.evaluate import Report
from cascade.release import Release

COUNTS = {"n"}


def answer_table(answers: dict[str, Answer]) -> Table:
    """One row an image."""
    table = Table("image", "label", "probability", "decided by", "why", "ms")
    for path, answer in answers.items():
        figures = f"{answer.probability:.3f}", answer.decided_by, answer.reason, f"{answer.milliseconds:.0f}"
        table.add_row(Text(path, overflow="fold"), answer.label, *figures)
    return table


def report_tables(report: Report) -> list[Table]:
    """The metrics with their intervals, then one table a slice column."""
    title = f"Release {report.release}: {_figure('n', report.metrics['n'])} images in {report.groups} groups"
    table = Table("metric", "value", "95 % interval by group", title=title, title_justify="left")
    for name, value in report.metrics.items():
        interval = report.intervals.get(name)
        table.add_row(name, _figure(name, value), f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "")
    return [table, *(_slice_table(name, values) for name, values in report.slices.items())]


def status_tables(release: Release | None, service: dict[str, Any] | None) -> list[Table]:
    """The champion with its gate's figures, and the service."""
    table = Table(show_header=False, title="Champion", title_justify="left")
    if release is None:
        table.add_row("release", "none yet; `make run` trains and promotes one")
    else:
        _add_release(table, release)
    running = Table(show_header=False, title="Service", title_justify="left")
    for name, value in (service or {"status": "not running; `streetvision serve` starts it"}).items():
        running.add_row(name, Text(str(value)))
    return [table, running]


def _add_release(table: Table, release: Release) -> None:
    manifest = release.manifest
    engine = manifest.engine
    table.add_row("release", manifest.id)
    table.add_row("engine", f"{engine.kind} {engine.precision}, {engine.threads} threads")
    table.add_row("exits", f"roadwork from {manifest.thresholds.high:.3f}, clear to {manifest.thresholds.low:.3f}")
    for name, value in manifest.revision.items():
        table.add_row(f"{name} revision", Text(value[:12]))
    for name, value in manifest.gate.items():
        if isinstance(value, int | float):
            table.add_row(Text(name), _figure(name, value))


def _slice_table(name: str, values: dict[str, dict[str, float]]) -> Table:
    table = Table(name, "n", "mcc", "accuracy", "auc", title=f"By {name}", title_justify="left")
    for value, metrics in values.items():
        # a slice of one class has no correlation; its 0 would read as a failure
        shown = ("n", "mcc", "accuracy", "auc") if "auc" in metrics else ("n", "accuracy")
        figures = (_figure(key, metrics[key]) if key in shown else "" for key in ("n", "mcc", "accuracy", "auc"))
        table.add_row(Text(value), *figures)
    return table


def _figure(name: str, value: float) -> str:
    return f"{value:.0f}" if name in COUNTS else f"{value:.3f}"
