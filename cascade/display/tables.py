"""What the command line prints, as rich tables. Texts from files go through `Text`, which knows no markup."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from cascade.core.cascade import Prediction
from cascade.evaluate.folder import EvaluationReport
from cascade.release.store import Release
from cascade.stages.base import StageResult
from cascade.video.clip import ClipPrediction

COUNTS = {"n"}
# characters of a timeline's longest bar
BAR = 30


def prediction_table(answers: dict[str, Prediction]) -> Table:
    """One row an image."""
    table = Table("image", "label", "probability", "decided by", "why", "ms")
    for path, answer in answers.items():
        why = "; ".join([answer.reason, *answer.notes])
        figures = f"{answer.probability:.3f}", answer.decided_by, why, f"{answer.milliseconds:.0f}"
        table.add_row(Text(path, overflow="fold"), answer.label, *figures)
    return table


def trace_table(answers: dict[str, Prediction]) -> Table:
    """One row a stage an image: what it saw, or why it did not look."""
    table = Table("image", "stage", "probability", "verdict", "saw", "ms", title="Trace", title_justify="left")
    for path, answer in answers.items():
        for index, seen in enumerate(answer.stages):
            p = "" if seen.probability is None else f"{seen.probability:.3f}"
            name = Text(path if index == 0 else "", overflow="fold")
            result = "skipped" if seen.skipped else seen.verdict
            table.add_row(name, seen.stage, p, result, Text(saw(seen)), f"{seen.milliseconds:.0f}")
    return table


def timeline_table(path: str, clip: ClipPrediction) -> Table:
    """The answer for a clip in the title, one row a frame."""
    title = f"{path}: {clip.label}, {clip.probability:.3f}. {clip.reason}"
    table = Table("s", "frame", "pooled", "", "decided by", title=Text(title), title_justify="left")
    for moment in clip.timeline:
        bar = "#" * round(moment.pooled * BAR)
        figures = f"{moment.seconds:.1f}", f"{moment.probability:.3f}", f"{moment.pooled:.3f}"
        table.add_row(*figures, bar, moment.decided_by)
    return table


def saw(seen: StageResult) -> str:
    """What a stage saw, in a few words."""
    if seen.skipped:
        return seen.skipped
    why, said = seen.detail.get("why"), seen.detail.get("said")
    lines = seen.detail.get("lines")
    if isinstance(lines, list) and not why:
        texts = [str(line["text"]) for line in lines if isinstance(line, dict) and "text" in line]
        return f"read: {' | '.join(texts)}" if texts else "no text"
    return str(why or said or "")


def report_tables(report: EvaluationReport) -> list[Table]:
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
