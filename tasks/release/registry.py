"""The registry in MLflow: one parent run a flow, a child run a stage, one version a release, and aliases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.release.store import Release
from tasks.common.files import sha256_file
from tasks.common.telemetry import switch_off
from tasks.common.user import set_user_name
from tasks.config import Params, RegisterParams
from tasks.release.collect import locked_stages
from tasks.release.runs import RELEASE_TAG, log_numbers, log_stage

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = Path("var/mlartifacts")
SQLITE = "sqlite:///"
FLOW_TAG = "prefect.flow_run_id"


class RegisterError(ValueError):
    """The registry has no such release."""


@dataclass(frozen=True)
class RegisteredModel:
    """A release in MLflow."""

    name: str
    version: str
    run_id: str
    release_id: str


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
    log_numbers(client, run_id, release.manifest.gate)
    for stage, entry in locked_stages(root).items():
        log_stage(client, experiment, run_id, stage, entry, release.id, root)
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


def _tags(release: Release, flow_run_id: str) -> dict[str, str]:
    revision = release.manifest.revision
    return {
        RELEASE_TAG: release.id,
        FLOW_TAG: flow_run_id,
        "dvc.lock.digest": revision["data"],
        "git.commit": revision["code"],
    }
