"""The registry in MLflow: one parent run a flow, a child run a stage, one version a release, and aliases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascade.release.store import Release
from tasks.common.files import sha256_file
from tasks.config import Params
from tasks.release.collect import locked_stages
from tasks.release.logged_model import link_version, log_release
from tasks.release.runs import RELEASE_TAG, log_data, log_numbers, log_stage
from tasks.release.tracking import RegisterError, connect, prepare, readable_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

FLOW_TAG = "prefect.flow_run_id"
# of the run of a release: what MLflow's table of runs shows beside each other
HEADLINE = ("mcc", "mcc_low", "mcc_high", "accuracy", "reward", "auc", "precision", "recall", "ece", "n")
ALIASES = ("champion", "previous", "challenger")


@dataclass(frozen=True)
class RegisteredModel:
    """A release in MLflow."""

    name: str
    version: str
    run_id: str
    release_id: str


def register(
    params: Params,
    release: Release,
    flow_run_id: str,
    root: Path = Path(),
    tree: Path | None = None,
    links: Mapping[str, str] | None = None,
) -> RegisteredModel:
    """Record a release with its stages' parameters, metrics, plots and data; a release already there is returned.

    The parent run has the headline figures, the code and the data; all other figures stand with the stages' runs.

    The version is written last: a run that was killed before it is deleted and written anew.

    Args:
        params: all of params.yaml.
        release: verified.
        flow_run_id: of Prefect, or any other word.
        root: folder that a file of `stores.mlflow` is relative to.
        tree: folder in which the stages ran, `root` by default.
        links: further tags of run and version, such as the address of the run's page.

    Raises:
        RegisterError: MLflow's store cannot be used.
    """
    experiment = prepare(params, root)
    with readable_errors(params, root):
        client = connect(params, root)
        if known := find_version(client, params.register_.model, release.id):
            return known
        tags = {FLOW_TAG: flow_run_id, **(links or {})}
        return _record(client, params, experiment, release, tags, tree or root)


def _record(
    client: MlflowClient, params: Params, experiment: str, release: Release, tags: dict[str, str], tree: Path
) -> RegisteredModel:
    _forget_unfinished(client, experiment, release.id)
    parent = client.create_run(experiment, run_name=f"retrain {release.id}", tags=_tags(release) | tags)
    run_id: str = parent.info.run_id
    gate, stages = release.manifest.gate, locked_stages(tree)
    log_numbers(client, run_id, {name: gate[name] for name in HEADLINE if name in gate})
    log_data(client, run_id, [dep for entry in stages.values() for dep in entry.get("deps", [])])
    for stage, entry in stages.items():
        log_stage(client, experiment, run_id, stage, entry, release.id, tree)
    client.log_artifact(run_id, str(release.folder / "manifest.json"))
    logged = log_release(client, experiment, run_id, release, params.runtime, _tags(release) | tags)
    client.set_terminated(run_id)
    return _new_version(client, params.register_.model, release, run_id, logged, tags)


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


def move_champion(params: Params, release_id: str, root: Path = Path()) -> None:
    """Point `champion` at a release; the one that held it becomes `previous`, and `challenger` ends.

    Raises:
        RegisterError: the release was never registered, or its version was deleted; or MLflow's store cannot be used.
    """
    prepare(params, root)
    with readable_errors(params, root):
        _move(connect(params, root), params.register_.model, release_id)


def read_aliases(params: Params, release_id: str | None = None, root: Path = Path()) -> dict[str, str]:
    """Give the version by alias, and see to it that a release can get one.

    Raises:
        RegisterError: MLflow's store cannot be written to, or the release was never registered.
    """
    prepare(params, root)
    with readable_errors(params, root):
        client = connect(params, root)
        if release_id is not None and find_version(client, params.register_.model, release_id) is None:
            raise RegisterError(
                f"{params.register_.model}: release {release_id} is not registered; `make run` registers it"
            )
        return _aliases(client, params.register_.model)


def restore_aliases(params: Params, wanted: dict[str, str], root: Path = Path()) -> None:
    """Put the aliases of a promotion back as `read_aliases` gave them; versions that were deleted are passed over.

    Raises:
        RegisterError: MLflow's store cannot be written to.
    """
    prepare(params, root)
    with readable_errors(params, root):
        client = connect(params, root)
        current = _aliases(client, params.register_.model)
        for alias in ALIASES:
            version, now = wanted.get(alias), current.get(alias)
            if version == now:
                continue
            if version is None:
                client.delete_registered_model_alias(params.register_.model, alias)
            elif _exists(client, params.register_.model, version):
                client.set_registered_model_alias(params.register_.model, alias, version)


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        return {name: str(version) for name, version in client.get_registered_model(model).aliases.items()}
    except MlflowException:
        return {}


def _move(client: MlflowClient, model: str, release_id: str) -> None:
    version = find_version(client, model, release_id)
    if version is None:
        raise RegisterError(f"{model}: release {release_id} is not registered; `make run` registers it")
    aliases = client.get_registered_model(model).aliases
    old = aliases.get("champion")
    if old is not None and str(old) != version.version and _exists(client, model, str(old)):
        client.set_registered_model_alias(model, "previous", str(old))
    client.set_registered_model_alias(model, "champion", version.version)
    if str(aliases.get("challenger")) == version.version:
        client.delete_registered_model_alias(model, "challenger")


def _exists(client: MlflowClient, model: str, version: str) -> bool:
    """Whether an alias leads to a version that is still there."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(model, version)
    except MlflowException:
        return False
    return True


def _new_version(
    client: MlflowClient, model: str, release: Release, run_id: str, logged: LoggedModel, links: dict[str, str]
) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        client.create_registered_model(model, description="Releases of the cascade's first stage; the files are DVC's")
    tags = {RELEASE_TAG: release.id, "manifest.sha256": sha256_file(release.folder / "manifest.json"), **links}
    version = client.create_model_version(model, logged.artifact_location, run_id, tags, model_id=logged.model_id)
    link_version(client, logged, model, str(version.version))
    client.set_registered_model_alias(model, "challenger", str(version.version))
    return RegisteredModel(model, str(version.version), run_id, release.id)


def _forget_unfinished(client: MlflowClient, experiment: str, release_id: str) -> None:
    """Delete runs and model of a registration that did not come to its version."""
    of_release = f"tags.`{RELEASE_TAG}` = '{release_id}'"
    for run in client.search_runs([experiment], of_release):
        client.delete_run(run.info.run_id)
    for model in client.search_logged_models([experiment], of_release):
        client.delete_logged_model(model.model_id)


def _tags(release: Release) -> dict[str, str]:
    revision = release.manifest.revision
    return {
        RELEASE_TAG: release.id,
        "dvc.lock.digest": revision["data"],
        "git.commit": revision["code"],
    }
