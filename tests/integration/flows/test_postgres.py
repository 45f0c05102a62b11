"""Prefect and MLflow in a real Postgres, by settings alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cascade.process.supervisor import Supervised
from flows.server import parts
from tasks.config import load_params
from tasks.release.registry import find_version, register
from tasks.release.tracking import VARIABLE, RegisterError, connect, prepare
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


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres.database_server("prefect", "mlflow") as found:
        yield found


def test_a_release_is_recorded_and_its_password_is_not_shown(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"postgresql://postgres:pass@127.0.0.1:{port}/mlflow")
    (tmp_path / "dvc.lock").write_text("stages: {}\n", encoding="utf-8")
    release = tiny.write_release(tmp_path)
    model = register(PARAMS, release, "flow", tmp_path)
    version = find_version(connect(PARAMS.register_), PARAMS.register_.model, release.id)
    assert version == model
    assert not (tmp_path / "var/mlflow.db").exists()
    assert not [word for word in parts.mlflow_server(PARAMS, 5999) if "pass@" in word]
    monkeypatch.setenv(VARIABLE, "postgresql://postgres:pass@127.0.0.1:1/mlflow")
    begin = time.monotonic()
    with pytest.raises(RegisterError, match=rf"MLflow at postgresql://postgres:\*\*\*@.*{VARIABLE}") as error:
        prepare(PARAMS.register_)
    assert time.monotonic() - begin < 20, "MLflow tries for minutes"
    assert "pass@" not in str(error.value)


def test_prefect_schedules_runs(port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        own = probe.getsockname()[1]
    api = parts.prefect_api(own)
    database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://postgres@127.0.0.1:{port}/prefect"}
    env = {**os.environ, **database, "PREFECT_HOME": str(tmp_path), "STREETVISION_PREFECT_API_URL": api}
    with Supervised(parts.prefect_server(own), cwd=ROOT, env=env, log=tmp_path / "log"):
        # it makes its tables first
        _wait(lambda: httpx.get(f"{api}/health").is_success, 400)
        # its pages ask the port that they came from
        assert httpx.get(f"{api.removesuffix('/api')}/ui-settings").json()["api_url"] == "/api"
        done = subprocess.run(
            [sys.executable, "-m", "flows.server.deploy"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        asked = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        _wait(lambda: len(httpx.post(f"{api}/flow_runs/filter", json=asked).json()) > 3, 90)
        assert not list(tmp_path.glob("*.db"))


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
