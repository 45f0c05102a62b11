"""Prefect and MLflow in a real Postgres, by settings alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from cascade.process.ready import free_port
from cascade.process.supervisor import Supervised
from flows.server import parts
from tasks.config import Params, StoresParams, load_params
from tasks.config.stores import PASSWORDS
from tasks.release.registry import find_version, register
from tasks.release.tracking import RegisterError, connect, prepare
from tasks.stores.databases import check_prefect
from tasks.stores.errors import StoreError
from tests.support import postgres, tiny
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.flow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(postgres.programs() is None, reason="deploy/postgres/install.sh installs Postgres"),
]
PARAMS = load_params(ROOT / "params.yaml")
START = "import os, sys, flows; os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres.database_server("prefect", "mlflow") as found:
        yield found


def stored(port: int, **changed: str) -> Params:
    """Parameters whose stores are in the server."""
    address = f"postgresql://{postgres.USER}@127.0.0.1:{port}"
    stores = StoresParams(**{"prefect": f"{address}/prefect", "mlflow": f"{address}/mlflow", **changed})
    return PARAMS.model_copy(update={"stores": stores})


def test_a_release_is_recorded_and_its_password_is_not_shown(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = stored(port)
    monkeypatch.setenv(PASSWORDS["mlflow"], postgres.PASSWORD)
    (tmp_path / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    release = tiny.write_release(tmp_path)
    model = register(params, release, "flow", tmp_path)
    version = find_version(connect(params), params.register_.model, release.id)
    assert version == model
    assert not (tmp_path / "var/mlflow.db").exists()
    assert not [word for word in parts.mlflow_server(params, 5999) if "@" in word]
    away = stored(1, mlflow="postgresql://postgres@127.0.0.1:1/mlflow")
    begin = time.monotonic()
    with pytest.raises(RegisterError, match=r"MLflow at postgresql://postgres:\*\*\*@.*stores\.mlflow") as error:
        prepare(away)
    assert time.monotonic() - begin < 20, "MLflow tries for minutes"
    assert postgres.PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("password", "message"),
    [
        # not given
        ("", f"{PASSWORDS['mlflow']} is not set"),
        # of another user
        ("wrong", f"password authentication failed .*{PASSWORDS['mlflow']} is set"),
    ],
)
def test_a_password_that_is_missing_or_wrong(
    port: int, monkeypatch: pytest.MonkeyPatch, password: str, message: str
) -> None:
    monkeypatch.setenv(PASSWORDS["mlflow"], password)
    with pytest.raises(RegisterError, match=message) as error:
        prepare(stored(port))
    assert "\n" not in str(error.value)
    variable = PASSWORDS["prefect"]
    monkeypatch.setenv(variable, password)
    with pytest.raises(StoreError, match=rf"Prefect's database at .*stores\.prefect .*{variable} is"):
        check_prefect(stored(port).stores)


def test_mlflow_and_prefect_start_and_schedule_runs(port: int, tmp_path: Path) -> None:
    """In a checkout whose params.yaml names both; the passwords are in the environment alone."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["stores"] |= stored(port).stores.model_dump(include={"prefect", "mlflow"})
    for name in ("flows", "cascade", "tasks", "deploy", "prefect.yaml", "prefect.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    own, other = (free_port() for _ in range(2))
    api = parts.prefect_api(own)
    secrets = {PASSWORDS["prefect"]: postgres.PASSWORD, PASSWORDS["mlflow"]: postgres.PASSWORD}
    env = {**os.environ, **secrets, "PREFECT_HOME": str(tmp_path / "home"), "STREETVISION_PREFECT_API_URL": api}
    # as `make ui` starts them: its process has imported `flows`
    own_server = (sys.executable, "-c", START, *parts.prefect_server(own))
    mlflow = parts.mlflow_server(stored(port), other)
    with (
        Supervised(own_server, cwd=tmp_path, env=env, log=tmp_path / "prefect.log"),
        Supervised(mlflow, cwd=tmp_path, env=env, log=tmp_path / "mlflow.log"),
    ):
        # it makes its tables first
        _wait(lambda: httpx.get(f"{api}/health").is_success, 400)
        # its pages ask the port that they came from
        assert httpx.get(f"{api.removesuffix('/api')}/ui-settings").json()["api_url"] == "/api"
        command = [sys.executable, "-m", "flows.server.deploy"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        asked = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        _wait(lambda: len(httpx.post(f"{api}/flow_runs/filter", json=asked).json()) > 3, 90)
        _wait(lambda: httpx.get(f"http://127.0.0.1:{other}/health").is_success, 120)
        assert not list(tmp_path.rglob("*.db"))
        assert postgres.PASSWORD not in _command_lines()


def _command_lines() -> str:
    """Of all processes, as anyone on the machine sees them."""
    return " ".join(" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))


def _wait(look: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if look():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < until
        time.sleep(0.5)
