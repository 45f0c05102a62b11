"""A person's decision on a release: Prefect's real form, on a real server, answered as its page answers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import FlowPauseTimeout

from flows.approve import approve
from flows.server.approval import request_approval
from tasks.release.gate import GateError
from tasks.release.ledger import read
from tests.support import promotion
from tests.support.promotion import build, make_project, standing

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose pipeline has run, without nginx; its service is stopped in the end."""
    make_project(tmp_path, mlflow_database, front="none", approval={"required": True, "hours": 0.05})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.approve.POLL_SECONDS", 1)
    yield tmp_path
    promotion.stop_all()


def answer_form(run_input: dict[str, Any], found: list[FlowRun]) -> threading.Thread:
    """Send the form of the next run that shows one; the run goes into `found`."""

    def send() -> None:
        with get_client(sync_client=True) as client:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                for run in client.read_flow_runs():
                    if run.state is not None and run.state.is_paused():
                        found.append(run)
                        client.resume_flow_run(run.id, run_input=run_input)
                        return
                time.sleep(0.2)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_the_release_goes_live_when_the_person_says_so() -> None:
    release, found = build(0.8), list[FlowRun]()
    form = answer_form({"promote": True, "who": "ada", "why": "looked at it"}, found)
    approve(release.id)
    form.join()
    assert standing().is_(release.id)
    (line,) = read()
    assert (line.who, line.why, line.action) == ("ada", "looked at it", "promote")
    with get_client(sync_client=True) as client:
        inputs = client.filter_flow_run_input(found[0].id, key_prefix="", limit=10, exclude_keys=set())
    (text,) = (one.value for one in inputs if one.key.endswith("description"))
    assert f"Promote release `{release.id}`?" in text


def test_a_release_that_is_declined_stays_a_challenger() -> None:
    release, found = build(0.8), list[FlowRun]()
    form = answer_form({"promote": False, "who": "ada", "why": "not at night"}, found)
    approve(release.id)
    form.join()
    assert found
    assert standing().pointer is None
    assert read() == []


def test_a_failed_floor_shows_no_form() -> None:
    with pytest.raises(GateError, match=r"mcc 0\.1000 is below"):
        approve(build(0.1).id)
    assert read() == []


@pytest.mark.slow
def test_nobody_decides(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["promotion"]["approval"]["hours"] = 1 / 3600
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(FlowPauseTimeout):
        approve(build(0.8).id)
    assert read() == []


@pytest.mark.slow
def test_a_release_is_asked_about_once(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def ask() -> None:
        request_approval("a" * 12)

    # a server without the deployment, as the one that `make run` starts for itself
    ask()
    assert f"streetvision promote {'a' * 12} --why TEXT" in caplog.text

    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(flow_id=client.create_flow(approve), name="approve")
        ask()
        ask()
        runs = [run for run in client.read_flow_runs() if run.deployment_id == deployment]
        assert [run.parameters for run in runs] == [{"release_id": "a" * 12}]
        client.delete_deployment(deployment)
