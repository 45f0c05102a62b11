"""What MLflow gets of a release's stages: parameters, metrics, plots and data, a run a stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.common.files import read_json
from tasks.common.imports import PACKAGES

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASE_TAG = "streetvision.release"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's UI nests runs by it
DATA = "data"  # folder of the data sets
LONGEST_VALUE = 500  # characters that MLflow keeps of a parameter or tag


def log_stage(
    client: MlflowClient, experiment: str, parent: str, stage: str, entry: dict[str, Any], release_id: str, root: Path
) -> None:
    """Log one child run: the entry of dvc.lock, and the metrics and pictures that the stage left.

    Args:
        client: of the tracking store.
        experiment: its id.
        parent: id of the parent run.
        stage: its name in dvc.yaml.
        entry: of dvc.lock.
        release_id: of the release.
        root: folder of the project.
    """
    tags = {PARENT_TAG: parent, RELEASE_TAG: release_id, "dvc.stage": stage, "dvc.cmd": str(entry.get("cmd"))}
    run_id: str = client.create_run(experiment, run_name=stage, tags=tags).info.run_id
    for name, value in _flat(entry.get("params", {}).get("params.yaml", {})):
        client.log_param(run_id, name, str(value)[:LONGEST_VALUE])
    _log_inputs(client, run_id, entry.get("deps", []))
    for out in entry.get("outs", []):
        path = root / out["path"]
        if path.name == "metrics.json" and path.is_file():
            log_numbers(client, run_id, read_json(path))
            for page in sorted(path.parent.glob("*.md")):
                client.log_artifact(run_id, str(page))
        elif path.name == "plots" and path.is_dir():
            client.log_artifacts(run_id, str(path), "plots")
    client.set_terminated(run_id)


def log_data(client: MlflowClient, run_id: str, deps: list[dict[str, Any]]) -> None:
    """Log the data sets among deps of several stages as inputs of one run, each once, by DVC's hash."""
    data = {dep["path"]: dep for dep in deps if dep["path"].split("/")[0] == DATA}
    _log_inputs(client, run_id, list(data.values()))


def _log_inputs(client: MlflowClient, run_id: str, deps: list[dict[str, Any]]) -> None:
    """Log the stage's data by DVC's hash; its code is in the parent's commit tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = [
        DatasetInput(
            Dataset(name=dep["path"], digest=dep["md5"][:36], source_type="dvc", source=json.dumps(dep)),
            tags=[InputTag("mlflow.data.context", "input")],
        )
        for dep in deps
        if dep["path"].split("/")[0] not in PACKAGES
    ]
    if data:
        client.log_inputs(run_id, datasets=data)


def log_numbers(client: MlflowClient, run_id: str, document: Mapping[str, Any]) -> None:
    """Log all numbers of a report as metrics, nested keys joined by dots."""
    for name, value in _flat(document):
        if isinstance(value, int | float) and not isinstance(value, bool):
            client.log_metric(run_id, name, float(value))


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
