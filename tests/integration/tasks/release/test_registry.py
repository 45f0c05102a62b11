"""MLflow on a real SQLite database: one version a release, and aliases that move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cascade.release.store import Release
from tasks.config import Params, load_params
from tasks.release import registry as registry
from tasks.release.collect import CollectError, assemble, data_digest
from tasks.release.registry import move_champion, register
from tasks.release.tracking import RegisterError, connect
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

PARAMS = load_params(ROOT / "params.yaml")
LOCK = {
    "schema": "2.0",
    "stages": {
        "train": {
            "cmd": "python -m tasks.train",
            "deps": [
                {"path": "data/features", "hash": "md5", "md5": "0" * 32 + ".dir"},
                {"path": "tasks/common", "md5": "1" * 32 + ".dir"},
            ],
            "params": {"params.yaml": {"train": {"gamma": 2.0, "seed": 7}}},
            "outs": [
                {"path": "reports/train/metrics.json", "md5": "2"},
                {"path": "reports/train/plots", "md5": "3.dir"},
            ],
        }
    },
}


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path) -> Path:
    """A project whose pipeline has run."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(LOCK), encoding="utf-8")
    write(tmp_path / "models/classifier/classifier.onnx", "onnx")
    write(tmp_path / "models/classifier/contract.json", "{}")
    settings = {
        "exits": {"high": 0.88, "low": 0.12},
        "engine": "onnxruntime",
        "precision": "fp32",
        "threads": 1,
        "size": 224,
    }
    write(tmp_path / "models/classifier/classifier.json", json.dumps(settings))
    write(tmp_path / "reports/validate/metrics.json", json.dumps({"mcc": 0.9, "levels": {"0": {"mcc": 0.95}}}))
    write(tmp_path / "reports/train/metrics.json", json.dumps({"loss": 0.25, "note": "text"}))
    write(tmp_path / "reports/train/stages.md", "| what it adds |")
    write(tmp_path / "reports/train/plots/pr.png", "picture")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def next_release(project: Path) -> Callable[[float], Release]:
    """Build the release of a project whose challenge MCC is the given one."""

    def build(mcc: float) -> Release:
        write(project / "reports/validate/metrics.json", json.dumps({"mcc": mcc}))
        return assemble(project)

    return build


def aliases(project: Path, params: Params = PARAMS) -> dict[str, str]:
    model = connect(params, project).get_registered_model(params.register_.model)
    return {name: str(version) for name, version in model.aliases.items()}


def test_without_a_run_of_the_pipeline_there_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(CollectError, match=r"dvc\.lock: no such file"):
        assemble(tmp_path)


def test_promoting_what_was_never_registered_is_an_error(project: Path) -> None:
    with pytest.raises(RegisterError, match="abc is not registered"):
        move_champion(PARAMS, "abc", project)


def test_the_digest_does_not_depend_on_the_order_of_stages(project: Path) -> None:
    stages = {"a": {"cmd": "x"}, "b": {"cmd": "y"}}
    write(project / "dvc.lock", yaml.safe_dump({"stages": stages}, sort_keys=False))
    first = data_digest(project)
    write(project / "dvc.lock", yaml.safe_dump({"stages": dict(reversed(stages.items()))}, sort_keys=False))
    assert data_digest(project) == first
    write(project / "dvc.lock", yaml.safe_dump({"stages": {**stages, "b": {"cmd": "z"}}}))
    assert data_digest(project) != first


def test_what_is_recorded(project: Path) -> None:
    release = assemble(project)
    model = register(PARAMS, release, "flow-1", project, links={"prefect.url": "http://127.0.0.1:4200/runs/flow-1"})
    client = connect(PARAMS, project)
    parent = client.get_run(model.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["prefect.flow_run_id"] == "flow-1"
    # the figures of the levels stand with the stage that made them
    assert parent.data.metrics == {"mcc": 0.9}
    assert [(one.dataset.name, one.dataset.digest) for one in parent.inputs.dataset_inputs] == [
        ("data/features", "0" * 32 + ".dir")
    ]

    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{model.run_id}'")
    assert [child.info.run_name for child in children] == ["train"]
    child = children[0]
    assert child.data.params == {"train.gamma": "2.0", "train.seed": "7"}
    assert child.data.metrics == {"loss": 0.25}
    assert [(one.dataset.name, one.dataset.digest) for one in child.inputs.dataset_inputs] == [
        ("data/features", "0" * 32 + ".dir")
    ]
    assert [one.path for one in client.list_artifacts(child.info.run_id, "plots")] == ["plots/pr.png"]
    assert "stages.md" in [one.path for one in client.list_artifacts(child.info.run_id)]
    tags = client.get_model_version(model.name, model.version).tags
    assert (tags["streetvision.release"], tags["prefect.flow_run_id"]) == (release.id, "flow-1")
    assert tags["prefect.url"] == "http://127.0.0.1:4200/runs/flow-1"
    assert aliases(project) == {"challenger": "1"}


def test_the_same_release_is_recorded_once(project: Path) -> None:
    first = register(PARAMS, assemble(project), "flow-1", project)
    client = connect(PARAMS, project)
    experiment = client.get_run(first.run_id).info.experiment_id
    runs = len(client.search_runs([experiment]))
    assert register(PARAMS, assemble(project), "flow-2", project) == first
    assert len(client.search_runs([experiment])) == runs


def test_a_killed_registration_leaves_no_double(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = assemble(project)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_new_version", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            register(PARAMS, release, "flow-1", project)
    model = register(PARAMS, release, "flow-2", project)
    client = connect(PARAMS, project)
    runs = client.search_runs([client.get_run(model.run_id).info.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"retrain {release.id}", "train"]
    models = client.search_logged_models([client.get_run(model.run_id).info.experiment_id])
    assert [one.source_run_id for one in models] == [model.run_id]


def test_aliases_move(project: Path, next_release: Callable[[float], Release]) -> None:
    one, two = next_release(0.8), next_release(0.9)
    register(PARAMS, one, "flow-1", project)
    move_champion(PARAMS, one.id, project)
    assert aliases(project) == {"champion": "1"}
    register(PARAMS, two, "flow-2", project)
    assert aliases(project) == {"champion": "1", "challenger": "2"}
    move_champion(PARAMS, two.id, project)
    assert aliases(project) == {"previous": "1", "champion": "2"}
    # again changes nothing
    move_champion(PARAMS, two.id, project)
    assert aliases(project) == {"previous": "1", "champion": "2"}
