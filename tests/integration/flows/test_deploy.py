"""prefect.yaml on a real server: versions of Prefect, FastAPI and SQLAlchemy that do not fit together fail here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


# what came to the webhook of a server
HEARD: dict[str, list[dict[str, str]]] = {}


@contextmanager
def chat() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook on this machine: its address, and what it is sent."""
    heard: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/hook/secret", heard
    finally:
        listening.shutdown()
        listening.server_close()


def deploy(env: dict[str, str]) -> str:
    """What `make deploy` does."""
    command = [sys.executable, "-m", "flows.server.deploy"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_code(env: dict[str, str], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, as a flow's."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


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
        assert wait_for(lambda: httpx.get(f"{api}/health").is_success, 300, process), (folder / "log").read_text()
        # the webhook of a chat
        with chat() as (address, heard):
            env |= {"STREETVISION_PREFECT_API_URL": api, "STREETVISION_ALERT_WEBHOOK": address}
            HEARD[api] = heard
            deploy(env)
            yield api, env, process
    finally:
        process.terminate()
        process.wait(30)


AUTOMATIC = {"tags": {"all_": ["auto-scheduled"]}}  # runs that come from a schedule


def scheduled(api: str, deployment: str, **more: Any) -> list[dict[str, Any]]:
    """The runs of a deployment that wait for their time."""
    one = httpx.get(f"{api}/deployments/name/{deployment}/{deployment}").json()["id"]
    asked = {"state": {"type": {"any_": ["SCHEDULED"]}}, "deployment_id": {"any_": [one]}, **more}
    found: list[dict[str, Any]] = httpx.post(f"{api}/flow_runs/filter", json={"flow_runs": asked}).json()
    return found


@pytest.mark.parametrize(
    ("name", "slug", "next_one"),
    [
        ("retrain", "every-90-days", "ENQUEUE"),
        ("mine-daily", "every-night", "CANCEL_NEW"),
        ("evaluate-champion", "every-week", "CANCEL_NEW"),
        ("model-age", "every-morning", "CANCEL_NEW"),
    ],
)
def test_deploy_all_as_the_file_says(server: Server, name: str, slug: str, next_one: str) -> None:
    deployment = httpx.get(f"{server[0]}/deployments/name/{name}/{name}").json()
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
    assert deployment["pull_steps"] == [step]
    assert deployment["concurrency_options"]["collision_strategy"] == next_one
    assert [schedule["slug"] for schedule in deployment["schedules"]] == [slug]
    # the commit that was deployed is what a run in its own tree works on
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    if deployment["work_pool_name"] == "gpu":
        assert deployment["version"] == commit.stdout.strip()
        assert deployment["job_variables"]["env"] == {"STREETVISION_REVISION": commit.stdout.strip()}


FAIL = """
from prefect import flow
import flows
from flows.model_age import warn
from tasks.config.clock import ClockParams
from tasks.release.age import judge_age
from pathlib import Path
import sys

@flow(name="broken", flow_run_name="broken 2026-12-01")
def broken():
    told = [warn(judge_age(days, ClockParams()), "abc", Path(sys.argv[1])) for days in (44, 71, 72)]
    assert told == [False, True, False]
    raise ValueError("no disk left")

broken()
"""


def test_a_failed_run_and_an_old_model_are_told_to_the_webhook(server: Server, tmp_path: Path) -> None:
    api, env, process = server
    assert "no disk left" in run_code(env, FAIL, str(tmp_path / "warned.json")).stderr
    # Prefect delivers an event again where its database was locked at first, so a message may come twice
    wait_for(lambda: len({one["text"] for one in HEARD[api]}) >= 2, 60, process)
    texts = sorted({one["text"] for one in HEARD[api]})
    assert len(texts) == 2, texts
    assert texts[0].startswith("StreetVision: broken: broken 2026-12-01 ended as Failed.")
    assert "no disk left" in texts[0]
    assert texts[1] == (
        "StreetVision: release abc: the model is 71.0 days old, 19.0 of 90 are left, past the warning at 70 days"
    )
    # the address is a secret: who reads the block does not see it
    blocks = httpx.post(f"{api}/block_documents/filter", json={"include_secrets": False}).text
    assert "/hook/secret" not in blocks


def test_a_limit_that_was_not_made_stops_the_run(server: Server) -> None:
    code = "import flows; from flows.dvc.limits import slot\nwith slot('nowhere'): print('ran')"
    done = run_code(server[1], code)
    assert done.returncode != 0
    assert "ran" not in done.stdout
    assert "nowhere" in done.stderr


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


@pytest.mark.parametrize(("name", "hour", "days"), [("evaluate-champion", 4, 7), ("model-age", 6, 1)])
def test_the_others_appear(server: Server, name: str, hour: int, days: int) -> None:
    """Before a second deploy, which switches one of them off."""
    api, _, process = server
    runs = wait_for(lambda: scheduled(api, name), 90, process)
    times = sorted(datetime.fromisoformat(run["expected_start_time"]) for run in runs)
    assert {(when.hour, when.minute) for when in times} == {(hour, 0)}
    assert times[0] < datetime.now(UTC) + timedelta(days=days)


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
        assert states.pop("mine-daily") == "warning"
        assert set(states.values()) == {"ok"}, states
    finally:
        httpx.patch(f"{api}/deployments/{name}", json={"paused": False}).raise_for_status()


def test_the_event_of_mining_starts_a_retrain(server: Server, tmp_path: Path) -> None:
    """Emitted as the flow does it; asking twice on one day, as a second run does, starts one."""
    api, env, process = server
    asked = tmp_path / "asked.json"
    done = run_code(env, ASK, str(asked))
    assert done.returncode == 0, done.stdout + done.stderr

    scheduled_by_time = {run["id"] for run in scheduled(api, "retrain", **AUTOMATIC)}
    runs = wait_for(lambda: [r for r in scheduled(api, "retrain") if r["id"] not in scheduled_by_time], 90, process)
    assert runs, "no retrain was scheduled"
    assert [run["parameters"]["why"] for run in runs] == ["mining of 2026-11-22: batch_pictures 7 (limit 5)"]
    assert runs[0]["parameters"]["promote_release"] is True
    assert "2026-11-22" in json.loads(asked.read_text(encoding="utf-8"))


def test_a_second_deploy_changes_nothing(server: Server) -> None:
    """The anchor of the 90 days stays, and so does a schedule, a limit or an automation that a person has changed."""
    api, env, process = server
    # a run that an event asked for is none of the schedule's
    runs = wait_for(lambda: scheduled(api, "retrain", **AUTOMATIC), 90, process)
    before = httpx.get(f"{api}/deployments/name/retrain/retrain").json()
    (schedule,) = httpx.get(f"{api}/deployments/name/model-age/model-age").json()["schedules"]
    where = httpx.get(f"{api}/deployments/name/model-age/model-age").json()["id"]
    httpx.patch(f"{api}/deployments/{where}/schedules/{schedule['id']}", json={"active": False}).raise_for_status()
    httpx.patch(f"{api}/v2/concurrency_limits/gpu", json={"limit": 2}).raise_for_status()
    deploy(env)
    after = httpx.get(f"{api}/deployments/name/retrain/retrain").json()
    assert after["schedules"][0]["schedule"] == before["schedules"][0]["schedule"]
    assert after["schedules"][0]["schedule"]["anchor_date"].startswith("2026-12-01T03:00:00")
    again = wait_for(lambda: scheduled(api, "retrain", **AUTOMATIC), 90, process)
    assert {run["expected_start_time"] for run in again} == {run["expected_start_time"] for run in runs}
    assert httpx.get(f"{api}/deployments/name/model-age/model-age").json()["schedules"][0]["active"] is False
    limits = httpx.post(f"{api}/v2/concurrency_limits/filter", json={}).json()
    assert {one["name"]: one["limit"] for one in limits if ":" not in one["name"]} == {"gpu": 2, "dvc": 1}
    automations = [one["name"] for one in httpx.post(f"{api}/automations/filter", json={}).json()]
    assert sorted(automations) == ["alert-on-failure", "alert-on-model-age", "mark-zombies", "retrain-needed"]
    pools = {one["name"] for one in httpx.post(f"{api}/work_pools/filter", json={}).json()}
    assert pools == {"cpu", "gpu", "kubernetes"}
