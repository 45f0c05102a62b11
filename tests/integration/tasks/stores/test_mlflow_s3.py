"""MLflow's artifacts in a real S3 by `stores.s3` alone: written, read back, refused, full, and away for seconds."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tasks.config import Params, load_params
from tasks.release.tracking import RegisterError, connect, prepare, readable_errors
from tasks.tools import stores
from tests.support.disk import small_disk
from tests.support.paths import ROOT
from tests.support.s3 import CREDENTIALS, SECRET, WRONG_CREDENTIALS, ObjectStore

pytestmark = pytest.mark.integration
PARAMS = load_params(ROOT / "params.yaml")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"AWS_MAX_ATTEMPTS": "2", "AWS_RETRY_MODE": "standard", "MLFLOW_S3_ENDPOINT_URL": "", **CREDENTIALS}
    for name, value in {**settings, "AWS_DEFAULT_REGION": ""}.items():
        monkeypatch.setenv(name, value)
    forget_clients()


def forget_clients() -> None:
    """MLflow keeps its clients of S3 for some minutes, with the keys that they were made with."""
    import boto3
    from mlflow.store.artifact import s3_artifact_repo

    s3_artifact_repo._cached_get_s3_client.cache_clear()
    boto3.DEFAULT_SESSION = None


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path_factory.mktemp("store") / "s3") as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, mlflow_database: Path) -> Path:
    """A folder with an empty database of MLflow, and one file to keep."""
    (tmp_path / "var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "var" / "mlflow.db")
    (tmp_path / "gate.json").write_text("report")
    return tmp_path


def settings(store: ObjectStore) -> Params:
    return PARAMS.model_copy(update={"stores": PARAMS.stores.model_copy(update={"s3": store.params()})})


def log(params: Params, project: Path) -> str:
    """Keep the file as artifact of a new run, and give the run's id."""
    experiment = prepare(params, project)
    with readable_errors(params, project):
        client = connect(params, project)
        run_id: str = client.create_run(experiment).info.run_id
        client.log_artifact(run_id, str(project / "gate.json"))
    return run_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secret", "code", "expected"),
    [
        # all can be used
        (SECRET, 0, "ok: object store s3://models at"),
        # one of them refuses, and the others are asked all the same
        ("other", 1, "error: s3://models at .*correct AWS_ACCESS_KEY_ID"),
    ],
)
def test_the_command_asks_each_store(
    store: ObjectStore, project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    secret: str, code: int, expected: str,
) -> None:  # fmt: skip
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["stores"]["s3"] = store.params().model_dump()
    (project / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (project / ".dvc").mkdir()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.chdir(project)
    assert stores.main() == code
    said = "".join(capfd.readouterr())
    assert re.search(expected, said)
    assert "ok: DVC's default remote" in said
    assert SECRET not in (project / ".dvc" / "config.local").read_text()


def fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))


def test_an_artifact_is_kept_and_read_back(store: ObjectStore, project: Path) -> None:
    params = settings(store)
    run_id = log(params, project)
    client = connect(params, project)
    assert client.get_run(run_id).info.artifact_uri.startswith("s3://models/streetvision/mlflow/")
    (project / "back").mkdir()
    assert Path(client.download_artifacts(run_id, "gate.json", str(project / "back"))).read_text() == "report"
    assert b"report" in store.objects().values()
    assert not (project / "var" / "mlartifacts").exists()
    # without the bucket the next run's artifacts would be in another place than those of before
    with pytest.raises(RegisterError, match=r"artifacts at s3://models/.* on this machine; .*register\.experiment"):
        prepare(PARAMS, project)


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "message"), WRONG_CREDENTIALS)
def test_wrong_credentials_are_said_before_a_run_is_made(
    store: ObjectStore, project: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], message: str
) -> None:
    with monkeypatch.context() as wrong:
        for name, value in changed.items():
            wrong.setenv(name, value)
        with pytest.raises(RegisterError, match=f"MLflow's artifacts: s3://models at .*{message}"):
            log(settings(store), project)
    log(settings(store), project)


@pytest.mark.slow
def test_a_full_store_is_one_line_and_the_same_call_does_it_then(project: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk" / "s3", "300k") as mounted:
        if not mounted:
            pytest.skip("only root mounts a small disk")
        with ObjectStore(tmp_path / "disk" / "s3") as small:
            params = settings(small)
            filler = small.folder / "filler"
            prepare(params, project)
            fill(filler)
            with pytest.raises(RegisterError, match=r"artifacts: s3://models at .* InternalError: .*stores\.s3"):
                log(params, project)
            filler.unlink()
            log(params, project)


@pytest.mark.slow
def test_a_store_that_is_away_for_seconds_changes_nothing(
    store: ObjectStore, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after `prepare` has seen it; the library asks again until it is back."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "12")
    params = settings(store)
    experiment = prepare(params, project)
    client = connect(params, project)
    run_id = client.create_run(experiment).info.run_id
    store.stop()

    def back() -> None:
        time.sleep(2)
        store.start()

    thread = threading.Thread(target=back)
    thread.start()
    begin = time.monotonic()
    with readable_errors(params, project):
        client.log_artifact(run_id, str(project / "gate.json"))
    thread.join()
    assert time.monotonic() - begin > 1
    (project / "back").mkdir()
    assert Path(client.download_artifacts(run_id, "gate.json", str(project / "back"))).read_text() == "report"
