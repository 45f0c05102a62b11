"""prefect.yaml on a real server: versions of Prefect, FastAPI and SQLAlchemy that do not fit together fail here."""

from __future__ import annotations

import json
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

from tasks.doctor.registry import Context
from tasks.doctor.schedules import schedules
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.flow]

PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
Server = tuple[str, dict[str, str], subprocess.Popen[bytes]]
# what the flow does at its end, in a process of its own: figures in, event out
ASK = """
import sys
from pathlib import Path
from prefect import flow
from flows.server.events import request_retrain
from tasks.monitoring.figures import MonitoredFigure

@flow
def ask():
    figures = [MonitoredFigure("batch_pictures", 7, 5, "", True), MonitoredFigure("drift_breaches", None, 2, "", False)]
    for _ in range(2):
        request_retrain(figures, "2026-11-22", Path(sys.argv[1]))

ask()
"""


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own on a free port with all deployments: its address, an environment, its process."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    env = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": api}
    command = [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        assert wait_for(lambda: httpx.get(f"{api}/health").is_success, 150, process), (folder / "log").read_text()
        for arguments in (["work-pool", "create", "cpu", "--type", "process"], ["deploy", "--all"]):
            done = subprocess.run(
                [*PREFECT, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        yield api, env, process
    finally:
        process.terminate()
        process.wait(30)


def scheduled(api: str, deployment: str, **more: Any) -> list[dict[str, Any]]:
    """The runs of a deployment that wait for their time."""
    one = httpx.get(f"{api}/deployments/name/{deployment}/{deployment}").json()["id"]
    asked = {"state": {"type": {"any_": ["SCHEDULED"]}}, "deployment_id": {"any_": [one]}, **more}
    found: list[dict[str, Any]] = httpx.post(f"{api}/flow_runs/filter", json={"flow_runs": asked}).json()
    return found


@pytest.mark.parametrize(
    ("name", "slug", "next_one"),
    [("retrain", "every-90-days", "ENQUEUE"), ("mine-daily", "every-night", "CANCEL_NEW")],
)
def test_deploy_all_as_the_file_says(server: Server, name: str, slug: str, next_one: str) -> None:
    deployment = httpx.get(f"{server[0]}/deployments/name/{name}/{name}").json()
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    assert deployment["pull_steps"] == [step]
    assert deployment["concurrency_options"]["collision_strategy"] == next_one
    assert [schedule["slug"] for schedule in deployment["schedules"]] == [slug]


def test_the_scheduled_retrain_appears(server: Server) -> None:
    api, _, process = server
    runs = wait_for(lambda: scheduled(api, "retrain"), 90, process)
    assert runs, (
        "the schedule shows and no run is ever created: see the caps of fastapi and sqlalchemy in pyproject.toml"
    )
    # the server looks 100 days ahead, so it may hold two runs, in any order
    when = min(datetime.fromisoformat(run["expected_start_time"]) for run in runs)
    assert datetime.now(UTC) < when < datetime.now(UTC) + timedelta(days=90)
    assert (when - datetime(2026, 12, 1, 3, tzinfo=UTC)) % timedelta(days=90) == timedelta(0)


def test_the_nightly_mining_appears(server: Server) -> None:
    api, _, process = server
    runs = wait_for(lambda: scheduled(api, "mine-daily"), 90, process)
    times = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    assert {(when.hour, when.minute) for when in times} == {(2, 0)}
    assert min(times) < datetime.now(UTC) + timedelta(days=1)
    assert runs[0]["parameters"]["sources"]["inbox"] is True


def test_the_doctor_sees_the_next_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    api, _, process = server
    assert wait_for(lambda: scheduled(api, "retrain") and scheduled(api, "mine-daily"), 90, process)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("STREETVISION_PREFECT_API_URL", api)
    found = list(schedules(Context(None, float("inf"))))
    assert {one.state for one in found} == {"ok"}, found
    nightly = next(one.sentence for one in found if one.sentence.startswith("mine-daily: next run"))
    assert nightly.endswith("02:00 UTC")
    # a person has paused it
    name = httpx.get(f"{api}/deployments/name/mine-daily/mine-daily").json()["id"]
    httpx.patch(f"{api}/deployments/{name}", json={"paused": True}).raise_for_status()
    try:
        states = {one.sentence.partition(":")[0]: one.state for one in schedules(Context(None, float("inf")))}
        assert states == {"mine-daily": "warning", "retrain": "ok"}
    finally:
        httpx.patch(f"{api}/deployments/{name}", json={"paused": False}).raise_for_status()


def test_the_event_of_mining_starts_a_retrain(server: Server, tmp_path: Path) -> None:
    """Emitted as the flow does it; asking twice on one day, as a second run does, starts one."""
    api, env, process = server
    asked = tmp_path / "asked.json"
    command = [sys.executable, "-c", ASK, str(asked)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    automatic = {"tags": {"all_": ["auto-scheduled"]}}
    scheduled_by_time = {run["id"] for run in scheduled(api, "retrain", **automatic)}
    runs = wait_for(lambda: [r for r in scheduled(api, "retrain") if r["id"] not in scheduled_by_time], 90, process)
    assert runs, "no retrain was scheduled"
    assert [run["parameters"]["why"] for run in runs] == ["mining of 2026-11-22: batch_pictures 7 (limit 5)"]
    assert runs[0]["parameters"]["promote_release"] is True
    assert "2026-11-22" in json.loads(asked.read_text(encoding="utf-8"))
