"""Assemble the release and record it in MLflow: one parent run a flow, a child run a stage, one version a release."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cascade.release.build import build_release
from cascade.release.manifest import FOLDERS
from cascade.release.store import Release, read_settings
from tasks.common.files import read_json, sha256, sha256_file
from tasks.common.telemetry import switch_off
from tasks.common.user import set_user_name
from tasks.config import Params, RegisterParams
from tasks.selection.compare import SOURCES

if TYPE_CHECKING:
    from mlflow import MlflowClient

CLASSIFIER = Path("models/classifier")
CASCADE_SETTINGS = Path("models/cascade/cascade.json")
GATE_REPORT = Path("reports/validate/metrics.json")
RELEASES = Path("models/releases")
LOCK = Path("dvc.lock")
ARTIFACTS = Path("var/mlartifacts")
SQLITE = "sqlite:///"
RELEASE_TAG = "streetvision.release"
FLOW_TAG = "prefect.flow_run_id"
PARENT_TAG = "mlflow.parentRunId"  # what MLflow's UI nests runs by
LONGEST_VALUE = 500  # characters MLflow keeps of a parameter or tag


class RegisterError(ValueError):
    """The registry lacks what is asked of it, or the pipeline has not run yet."""


@dataclass(frozen=True)
class RegisteredModel:
    """A release as MLflow knows it."""

    name: str
    version: str
    run_id: str
    release_id: str


def assemble(root: Path = Path()) -> Release:
    """Build the release of what the pipeline left in `root`; the same content gives the same release.

    Raises:
        RegisterError: the pipeline has not run.
        cascade.release.store.ReleaseError: a file is missing or not allowed.
    """
    if not (root / LOCK).is_file():
        raise RegisterError(f"{root / LOCK}: no such file; `dvc repro` or `make run` writes it")
    revision = {"data": data_digest(root), "code": _commit(root)}
    settings = root / CASCADE_SETTINGS
    return build_release(
        root / CLASSIFIER,
        root / GATE_REPORT,
        root / RELEASES,
        revision=revision,
        stages=_stages(root, settings),
        settings=settings if settings.is_file() else None,
    )


def _stages(root: Path, settings: Path) -> dict[str, Path]:
    """Folders of the stages that the worth stage switched on, as far as they have files: a release ships no others."""
    if not settings.is_file():
        return {}
    on = {entry.name for entry in read_settings(settings.parent).stages if entry.on}
    measured = read_json(settings.with_name(SOURCES))
    folders = {name: root / "models" / measured[name] for name in FOLDERS if name in on}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def data_digest(root: Path = Path()) -> str:
    """Digest of dvc.lock's content: stages that ran side by side are written in the order in which they ended."""
    return sha256(json.dumps(_locked_stages(root), sort_keys=True).encode())


def register(params: Params, release: Release, flow_run_id: str, root: Path = Path()) -> RegisteredModel:
    """Record a release with its stages' parameters, metrics, plots and data; a release already there is returned.

    The version is written last: a run that was killed before it is deleted and written anew.
    """
    client = connect(params.register_, root)
    model = params.register_.model
    if known := find_version(client, model, release.id):
        return known
    experiment = _experiment(client, params.register_.experiment, root)
    _forget_unfinished(client, experiment, release.id)
    parent = client.create_run(experiment, run_name=f"retrain {release.id}", tags=_tags(release, flow_run_id))
    run_id: str = parent.info.run_id
    _log_numbers(client, run_id, "", release.manifest.gate)
    for stage, entry in _locked_stages(root).items():
        _log_stage(client, experiment, run_id, stage, entry, release.id, root)
    client.log_artifact(run_id, str(release.folder / "manifest.json"))
    client.set_terminated(run_id)
    return _new_version(client, model, release, run_id)


def connect(params: RegisterParams, root: Path = Path()) -> MlflowClient:
    """Open the tracking store and registry; a relative SQLite path counts from `root` and its folder is made."""
    switch_off()
    set_user_name()
    from mlflow import MlflowClient

    uri = params.tracking_uri
    if uri.startswith(SQLITE):
        database = (root / uri.removeprefix(SQLITE)).resolve()
        database.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{SQLITE}{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def find_version(client: MlflowClient, model: str, release_id: str) -> RegisteredModel | None:
    """The version of a release, or None."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        return None
    for one in client.search_model_versions(f"name = '{model}'"):
        if one.tags.get(RELEASE_TAG) == release_id:
            return RegisteredModel(model, str(one.version), str(one.run_id), release_id)
    return None


def move_champion(params: RegisterParams, release_id: str, root: Path = Path()) -> None:
    """Point `champion` at a release; the one that held it becomes `previous`, and `challenger` ends.

    Raises:
        RegisterError: the release was never registered.
    """
    client, model = connect(params, root), params.model
    version = find_version(client, model, release_id)
    if version is None:
        raise RegisterError(f"{model}: release {release_id} is not registered; `make run` registers it")
    aliases = client.get_registered_model(model).aliases
    old = aliases.get("champion")
    if old is not None and str(old) != version.version:
        client.set_registered_model_alias(model, "previous", str(old))
    client.set_registered_model_alias(model, "champion", version.version)
    if str(aliases.get("challenger")) == version.version:
        client.delete_registered_model_alias(model, "challenger")


def _new_version(client: MlflowClient, model: str, release: Release, run_id: str) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        client.create_registered_model(model, description="Releases of the cascade's first stage; the files are DVC's")
    tags = {RELEASE_TAG: release.id, "manifest.sha256": sha256_file(release.folder / "manifest.json")}
    version = client.create_model_version(model, source=release.folder.resolve().as_uri(), run_id=run_id, tags=tags)
    client.set_registered_model_alias(model, "challenger", str(version.version))
    return RegisteredModel(model, str(version.version), run_id, release.id)


def _experiment(client: MlflowClient, name: str, root: Path) -> str:
    """The experiment's id; MLflow's default would put artifacts into the current folder."""
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_location=(root / ARTIFACTS).resolve().as_uri()))


def _forget_unfinished(client: MlflowClient, experiment: str, release_id: str) -> None:
    """Delete the runs of a registration that did not come to its version."""
    for run in client.search_runs([experiment], f"tags.`{RELEASE_TAG}` = '{release_id}'"):
        client.delete_run(run.info.run_id)


def _log_stage(
    client: MlflowClient, experiment: str, parent: str, stage: str, entry: dict[str, Any], release_id: str, root: Path
) -> None:
    """One child run: what dvc.lock says of the stage, and the metrics and pictures it left."""
    tags = {PARENT_TAG: parent, RELEASE_TAG: release_id, "dvc.stage": stage, "dvc.cmd": str(entry.get("cmd"))}
    run_id: str = client.create_run(experiment, run_name=stage, tags=tags).info.run_id
    for name, value in _flat(entry.get("params", {}).get("params.yaml", {})):
        client.log_param(run_id, name, str(value)[:LONGEST_VALUE])
    _log_inputs(client, run_id, entry.get("deps", []))
    for out in entry.get("outs", []):
        path = root / out["path"]
        if path.name == "metrics.json" and path.is_file():
            _log_numbers(client, run_id, "", read_json(path))
            for page in sorted(path.parent.glob("*.md")):
                client.log_artifact(run_id, str(page))
        elif path.name == "plots" and path.is_dir():
            client.log_artifacts(run_id, str(path), "plots")
    client.set_terminated(run_id)


def _log_inputs(client: MlflowClient, run_id: str, deps: list[dict[str, Any]]) -> None:
    """The stage's data, by DVC's hash; its code is in the parent's commit tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = [
        DatasetInput(
            Dataset(name=dep["path"], digest=dep["md5"][:36], source_type="dvc", source=json.dumps(dep)),
            tags=[InputTag("mlflow.data.context", "input")],
        )
        for dep in deps
        if not dep["path"].endswith(".py")
    ]
    if data:
        client.log_inputs(run_id, datasets=data)


def _log_numbers(client: MlflowClient, run_id: str, above: str, document: Mapping[str, Any]) -> None:
    for name, value in _flat(document, above):
        if isinstance(value, int | float) and not isinstance(value, bool):
            client.log_metric(run_id, name, float(value))


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _locked_stages(root: Path) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((root / LOCK).read_text(encoding="utf-8"))
    return dict(document.get("stages", {}))


def _tags(release: Release, flow_run_id: str) -> dict[str, str]:
    revision = release.manifest.revision
    return {
        RELEASE_TAG: release.id,
        FLOW_TAG: flow_run_id,
        "dvc.lock.digest": revision["data"],
        "git.commit": revision["code"],
    }


def _commit(root: Path) -> str:
    """The commit of the code, marked where files differ from it; `unknown` outside of git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
