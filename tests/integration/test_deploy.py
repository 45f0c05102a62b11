"""prefect.yaml on a real server: versions of Prefect, FastAPI and SQLAlchemy that do not fit together fail here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.flow]

ROOT = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]


def wait_for(look: Any, seconds: float, process: subprocess.Popen[bytes]) -> Any:
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            if found := look():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    return None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, dict[str, str], subprocess.Popen[bytes]]]:
    """A server of its own on a free port: its address, an environment that points to it, its process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    env = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": api}
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        assert wait_for(lambda: httpx.get(f"{api}/health").is_success, 150, process), (tmp_path / "log").read_text()
        yield api, env, process
    finally:
        process.terminate()
        process.wait(30)


def test_deploy_all_and_the_scheduled_run_appears(
    server: tuple[str, dict[str, str], subprocess.Popen[bytes]],
) -> None:
    api, env, process = server
    for command in (["work-pool", "create", "cpu", "--type", "process"], ["deploy", "--all"]):
        done = subprocess.run([*PREFECT, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    deployment = httpx.get(f"{api}/deployments/name/retrain/retrain").json()
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    assert deployment["pull_steps"] == [step]
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert [schedule["slug"] for schedule in deployment["schedules"]] == ["every-90-days"]

    asked = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs = wait_for(lambda: httpx.post(f"{api}/flow_runs/filter", json=asked).json(), 90, process)
    assert runs, (
        "the schedule shows and no run is ever created: see the caps of fastapi and sqlalchemy in pyproject.toml"
    )
    # the server looks 100 days ahead, so it may hold two runs, in any order
    when = min(datetime.fromisoformat(run["expected_start_time"]) for run in runs)
    assert datetime.now(UTC) < when < datetime.now(UTC) + timedelta(days=90)
    assert (when - datetime(2026, 12, 1, 3, tzinfo=UTC)) % timedelta(days=90) == timedelta(0)
