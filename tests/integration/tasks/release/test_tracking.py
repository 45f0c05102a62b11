"""MLflow's store as people and machines leave it: what was deleted is restored or made anew, else one line says why."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from cascade.release.store import Release
from tasks.config import StoresParams, load_params
from tasks.release import tracking
from tasks.release.collect import assemble
from tasks.release.registry import RegisteredModel, move_champion, register
from tasks.release.tracking import RegisterError, check_database, connect, prepare
from tests.support import tiny
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.integration

PARAMS = load_params(ROOT / "params.yaml")
MODEL, EXPERIMENT = PARAMS.register_.model, PARAMS.register_.experiment


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path) -> Path:
    """A project whose pipeline has run."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    tiny.write_classifier(tmp_path / "models/classifier")
    tiny.write_metrics(tmp_path / "reports/validate/metrics.json")
    return tmp_path


def release(project: Path, number: int) -> Release:
    document = {"stages": {"train": {"cmd": f"echo {number}"}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(document), encoding="utf-8")
    return assemble(project)


def test_an_experiment_that_was_deleted_is_restored(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = register(PARAMS, release(project, 1), "flow-1", project)
    client = connect(PARAMS, project)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    client.delete_experiment(experiment)
    with caplog.at_level(logging.WARNING):
        assert prepare(PARAMS, project) == experiment
        assert prepare(PARAMS, project) == experiment
    assert [record.getMessage() for record in caplog.records if "was deleted" in record.getMessage()] == [
        f"MLflow's experiment {EXPERIMENT!r} was deleted; it is restored with its runs"
    ]
    assert client.get_run(model.run_id).info.lifecycle_stage == "active"
    register(PARAMS, release(project, 2), "flow-2", project)
    # deleted while the stages ran
    client.delete_experiment(experiment)
    register(PARAMS, release(project, 3), "flow-3", project)


def rename_model(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    client.rename_registered_model(MODEL, "other")


def delete_model(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    client.delete_registered_model(MODEL)


def delete_champion_version(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    client.delete_model_version(MODEL, first.version)


def delete_new_version(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    client.delete_model_version(MODEL, second.version)


def delete_runs(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    for model in (first, second):
        client.delete_run(model.run_id)


def delete_aliases(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    for alias in ("champion", "challenger"):
        client.delete_registered_model_alias(MODEL, alias)


def delete_artifacts(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    shutil.rmtree(Path(client.get_run(first.run_id).info.artifact_uri.removeprefix("file://")).parents[1])


def alias_of_a_version_that_is_gone(client: MlflowClient, first: RegisteredModel, second: RegisteredModel) -> None:
    with sqlite3.connect(client.tracking_uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE registered_model_aliases SET version = 77 WHERE alias = 'champion'")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(rename_model, marks=pytest.mark.slow),
        pytest.param(delete_model, marks=pytest.mark.slow),
        delete_champion_version,
        pytest.param(delete_new_version, marks=pytest.mark.slow),
        pytest.param(delete_runs, marks=pytest.mark.slow),
        pytest.param(delete_aliases, marks=pytest.mark.slow),
        delete_artifacts,
        alias_of_a_version_that_is_gone,
    ],
)
def test_the_next_promotion_goes_through_whatever_was_deleted(
    project: Path, change: Callable[[MlflowClient, RegisteredModel, RegisteredModel], None]
) -> None:
    one = release(project, 1)
    first = register(PARAMS, one, "flow-1", project)
    move_champion(PARAMS, one.id, project)
    two = release(project, 2)
    second = register(PARAMS, two, "flow-2", project)
    change(connect(PARAMS, project), first, second)
    # as a run does, whose release may be known or not
    for number in (2, 3):
        new = release(project, number)
        register(PARAMS, new, "flow-3", project)
        move_champion(PARAMS, new.id, project)
        champion = connect(PARAMS, project).get_model_version_by_alias(MODEL, "champion")
        assert champion.tags["streetvision.release"] == new.id


def damage_head(file: Path) -> None:
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])


def damage_middle(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data) - 4096, 8192):
        data[page : page + 64] = b"\xff" * 64
    file.write_bytes(data)


def cut_off(file: Path) -> None:
    os.truncate(file, 40_000)


def random_bytes(file: Path) -> None:
    file.write_bytes(bytes(range(1, 256)) * 20)


def revision(name: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with sqlite3.connect(file) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (name,))

    return change


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("change", "words", "remedy"),
    [
        (damage_head, "damaged", "mv "),
        (damage_middle, "damaged", "mv "),
        (cut_off, "damaged", "mv "),
        (random_bytes, "damaged", "mv "),
        # of a version to come, and of one of before
        (revision("fedcba987654"), "newer MLflow than the installed 3", "install that one"),
        (revision("451aebb31d03"), "older MLflow than the installed 3", "mlflow db upgrade sqlite:///"),
        (a_folder, "cannot be written to", "writable"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_at_once(
    project: Path, change: Callable[[Path], None], words: str, remedy: str
) -> None:
    file = project / "var/mlflow.db"
    change(file)
    start = time.monotonic()
    with pytest.raises(RegisterError, match=words) as error:
        prepare(PARAMS, project)
    # MLflow itself tries for minutes
    assert time.monotonic() - start < 20
    line = str(error.value)
    assert line.startswith(str(file))
    assert remedy in line
    assert "\n" not in line


@pytest.mark.slow
def test_the_remedy_of_a_damaged_store_works(project: Path) -> None:
    file = project / "var/mlflow.db"
    random_bytes(file)
    with pytest.raises(RegisterError) as error:
        prepare(PARAMS, project)
    subprocess.run(str(error.value).split("`")[1].split(), check=True)
    move = release(project, 1)
    register(PARAMS, move, "flow-1", project)
    move_champion(PARAMS, move.id, project)


def test_a_locked_store_names_its_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LOCK_SECONDS", 0.2)
    file = project / "var/mlflow.db"
    with sqlite3.connect(file, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegisterError, match="another process holds it"):
            check_database(PARAMS, project)
    check_database(PARAMS, project)


READ_ONLY = """
import sys
from pathlib import Path
from tasks.config import load_params
from tasks.release.tracking import RegisterError, check_database
try:
    check_database(load_params(Path(sys.argv[1])), Path(sys.argv[2]))
except RegisterError as error:
    sys.exit(str(error))
"""


def without_power(*command: str) -> list[str]:
    """The command line as a user whom permissions bind, also where the tests run as root."""
    return ["unshare", "--user", "--map-user=12345", *command] if os.geteuid() == 0 else list(command)


@pytest.mark.skipif(
    os.geteuid() == 0
    and (shutil.which("unshare") is None or subprocess.run(without_power("true"), check=False).returncode != 0),
    reason="no user namespaces on this machine",
)
@pytest.mark.parametrize("what", ["var/mlflow.db", "var"])
def test_a_store_that_cannot_be_written_to(project: Path, what: str) -> None:
    (project / what).chmod(0o555 if what == "var" else 0o444)
    command = without_power(sys.executable, "-c", READ_ONLY, str(ROOT / "params.yaml"), str(project))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (project / "var").chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert "cannot be written to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    given = PARAMS.model_copy(update={"stores": StoresParams(mlflow="http://127.0.0.1:9")})
    with pytest.raises(RegisterError, match=r"MLflow at http://127\.0\.0\.1:9: .*stores\.mlflow") as error:
        prepare(given, tmp_path)
    assert "\n" not in str(error.value)
