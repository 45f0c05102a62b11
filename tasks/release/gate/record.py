"""The report in MLflow: its files and numbers at the run of the release, and the verdict at its version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import Params
from tasks.release.gate.report import PAGE_FILE, GateReport
from tasks.release.registry import find_version
from tasks.release.runs import PARENT_TAG, RELEASE_TAG
from tasks.release.tracking import RegisterError, connect, prepare, readable_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "gate"  # of the run's artifacts, and the run with all figures
HEADLINE = ("gate.passes", "gate.mcc.difference", "gate.mcc.difference_low")


def log_gate(params: Params, report: GateReport, folder: Path, root: Path = Path()) -> None:
    """Record a report with the release that it is about; a later one of the same release replaces it.

    Args:
        params: all sections.
        report: from `run_gate`.
        folder: that `run_gate` wrote to.
        root: folder of the project.

    Raises:
        RegisterError: the release is not registered, or MLflow's store cannot be used.
    """
    prepare(params, root)
    with readable_errors(params, root):
        client = connect(params, root)
        version = find_version(client, params.register_.model, report.challenger)
        if version is None:
            raise RegisterError(
                f"{params.register_.model}: release {report.challenger} is not registered; `make run` registers it"
            )
        _log_numbers(client, version.run_id, report)
        client.log_artifacts(version.run_id, str(folder), FOLDER)
        tags = {
            "gate.verdict": report.verdict,
            "gate.passes": str(report.passes).lower(),
            "gate.report": f"runs:/{version.run_id}/{FOLDER}/{PAGE_FILE}",
        }
        for name, text in tags.items():
            client.set_model_version_tag(params.register_.model, version.version, name, text)


def _log_numbers(client: MlflowClient, run_id: str, report: GateReport) -> None:
    """Log the verdict and what it rests on at the release's run, and all figures at a run `gate` below it."""
    found, parent = numbers(report), client.get_run(run_id)
    for name in HEADLINE:
        if name in found:
            client.log_metric(run_id, name, found[name])
    below = f"tags.`{PARENT_TAG}` = '{run_id}' and tags.`mlflow.runName` = '{FOLDER}'"
    old = client.search_runs([parent.info.experiment_id], below)
    tags = {PARENT_TAG: run_id, RELEASE_TAG: report.challenger}
    run = old[0] if old else client.create_run(parent.info.experiment_id, run_name=FOLDER, tags=tags)
    for name, value in found.items():
        client.log_metric(run.info.run_id, name, value)
    client.set_terminated(run.info.run_id)


def numbers(report: GateReport) -> dict[str, float]:
    """Give the report's figures under the names that MLflow shows; those that are undefined are left out."""
    found: dict[str, float | None] = {"gate.passes": float(report.passes), "gate.changes": float(len(report.changes))}
    for one in report.comparisons:
        for side in ("challenger", "champion", "difference"):
            figure = getattr(one, side)
            found |= {f"gate.{one.name}.{side}{end}": value for end, value in zip(
                ("", "_low", "_high"), (figure.value, figure.low, figure.high), strict=True
            )}  # fmt: skip
        found[f"gate.{one.name}.detectable"] = one.detectable
    for cost in report.costs:
        found |= {f"gate.{cost.name}.challenger": cost.challenger, f"gate.{cost.name}.champion": cost.champion}
    return {name: value for name, value in found.items() if value is not None}
