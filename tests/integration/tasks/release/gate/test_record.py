"""The report in MLflow, on a real database: files, numbers and the verdict at the version of its release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.config import load_params
from tasks.release.gate import GateReport, log_gate
from tasks.release.gate.report import Comparison, Figure
from tasks.release.registry import find_version, register
from tasks.release.tracking import RegisterError, connect
from tests.support import tiny
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
PARAMS = load_params(ROOT / "params.yaml")


def report_of(release: str) -> GateReport:
    """A report with one figure that is defined and one that is not."""
    undefined = Figure(value=None)
    mcc = Comparison(
        name="mcc", challenger=Figure(value=0.9, low=0.8, high=0.95), champion=undefined, difference=undefined
    )
    return GateReport(
        challenger=release, champion="c" * 12, verdict="better", failures=(), faults=(), passes=True, reason="better",
        when="2026-11-27T00:00:00+00:00", comparisons=(mcc,),
    )  # fmt: skip


def test_the_report_lies_with_the_release(tmp_path: Path, mlflow_database: Path) -> None:
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    (tmp_path / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    release = tiny.write_release(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("gate.json", "gate.html"):
        (tmp_path / "out" / name).write_text("report")
    with pytest.raises(RegisterError, match="not registered"):
        log_gate(PARAMS, report_of(release.id), tmp_path / "out", tmp_path)
    registered = register(PARAMS, release, "flow", tmp_path)
    log_gate(PARAMS, report_of(release.id), tmp_path / "out", tmp_path)
    client = connect(PARAMS, tmp_path)
    assert {file.path for file in client.list_artifacts(registered.run_id, "gate")} == {
        "gate/gate.html",
        "gate/gate.json",
    }
    parent = client.get_run(registered.run_id)
    assert parent.data.metrics["gate.passes"] == 1.0
    assert not [name for name in parent.data.metrics if name.startswith("gate.mcc.challenger")]
    # a later report of the release takes the place of the first
    log_gate(PARAMS, report_of(release.id), tmp_path / "out", tmp_path)
    below = f"tags.`mlflow.parentRunId` = '{registered.run_id}' and tags.`mlflow.runName` = 'gate'"
    (run,) = client.search_runs([parent.info.experiment_id], below)
    metrics = run.data.metrics
    assert (metrics["gate.mcc.challenger"], metrics["gate.mcc.challenger_low"], metrics["gate.passes"]) == (
        0.9,
        0.8,
        1.0,
    )
    assert "gate.mcc.champion" not in metrics
    version = find_version(client, PARAMS.register_.model, release.id)
    assert version is not None
    tags = client.get_model_version(version.name, version.version).tags
    assert (tags["gate.verdict"], tags["prefect.flow_run_id"]) == ("better", "flow")
    assert tags["gate.report"] == f"runs:/{registered.run_id}/gate/gate.html"
