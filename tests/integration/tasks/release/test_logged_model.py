"""The logged model of a release, on a real SQLite database and with a real engine: its signature and its answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from cascade.local.session import open_cascade
from cascade.release.store import Release, ReleaseError
from tasks.config import load_params
from tasks.release.registry import register
from tasks.release.tracking import connect
from tests.support.paths import ROOT
from tests.support.tiny import encoded, street, write_release

pytestmark = pytest.mark.integration

PARAMS = load_params(ROOT / "params.yaml")


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an empty database of MLflow, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    (tmp_path / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def release(project: Path) -> Release:
    """One that is registered; its version has the alias challenger."""
    made = write_release(project / "models")
    register(PARAMS, made, "flow-1", project)
    return made


def open_model(project: Path) -> object:
    """Open it as somebody with the registry's address alone does."""
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project / 'var/mlflow.db'}")
    mlflow.set_registry_uri(f"sqlite:///{project / 'var/mlflow.db'}")
    try:
        return mlflow.pyfunc.load_model(f"models:/{PARAMS.register_.model}@challenger")
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def test_it_answers_as_the_release_does(project: Path, release: Release) -> None:
    model = open_model(project)
    images = [street((200, 40, 40)), street((40, 40, 200))]
    frame = pd.DataFrame({"image": [encoded(one, "PNG") for one in images]}, index=[5, 3])
    found = model.predict(frame)  # type: ignore[attr-defined]
    with open_cascade(release.folder, PARAMS.runtime) as cascade:
        expected = [answer.probability for answer in cascade.predict(images)]
    assert list(found.columns) == ["probability", "label", "decided_by", "reason"]
    assert (list(found.index), list(found.probability)) == ([5, 3], pytest.approx(expected))


def test_what_is_recorded(project: Path, release: Release) -> None:
    client = connect(PARAMS, project)
    version = client.get_model_version_by_alias(PARAMS.register_.model, "challenger")
    experiment = client.get_run(version.run_id).info.experiment_id
    [logged] = client.search_logged_models([experiment])
    assert logged.artifact_location == version.source
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": PARAMS.register_.model, "version": "1"}]
    assert (logged.status, logged.source_run_id) == ("READY", version.run_id)
    assert logged.tags["streetvision.release"] == release.id
    # weights stay where they are
    stored = [file.name for file in (project / "var/mlartifacts").rglob("*") if file.is_file()]
    assert "MLmodel" in stored
    assert not [name for name in stored if name.endswith((".onnx", ".safetensors", ".pkl"))]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        # a frame that the signature refuses
        ({"picture": [b""]}, "missing inputs"),
        # bytes that are no picture
        ({"image": [b"no picture"]}, "image"),
    ],
)
def test_what_cannot_be_predicted(project: Path, release: Release, rows: dict[str, list[bytes]], message: str) -> None:
    with pytest.raises(Exception, match=message):
        open_model(project).predict(pd.DataFrame(rows))  # type: ignore[attr-defined]


@pytest.mark.parametrize("gone", [True, False])
def test_another_release_is_refused(project: Path, release: Release, gone: bool) -> None:
    if gone:
        shutil.rmtree(release.folder)
    else:
        manifest = release.folder / "manifest.json"
        manifest.write_text(manifest.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ReleaseError, match="make restore" if gone else "not the one that was registered"):
        open_model(project)
