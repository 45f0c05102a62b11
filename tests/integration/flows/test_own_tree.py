"""Runs that a worker starts: real git, DVC, Prefect, MLflow and service, and a stage that is quick."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cascade.api.process import status
from flows.worktree.git import git
from tests.support import process_tree, promotion
from tests.support.checkout import environment, make_checkout, python, set_prior
from tests.support.promotion import standing

pytestmark = [
    pytest.mark.integration,
    pytest.mark.flow,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("prefect_server"),
]
# the heartbeats stop, and 90 s later the server looks (flows/server/setup.py)
LIMIT = 30 + 90 + 30
WORKER = [sys.executable, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", "gpu"]


@pytest.fixture
def checkout(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = make_checkout(tmp_path / "checkout", mlflow_database)
    monkeypatch.chdir(folder)
    yield folder
    promotion.stop_all()


@pytest.fixture
def api() -> str:
    from prefect.settings import PREFECT_API_URL

    return str(PREFECT_API_URL.value())


@pytest.fixture
def work(checkout: Path, api: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a worker of the pool `gpu` in the checkout; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**more: str) -> subprocess.Popen[bytes]:
        env = environment(checkout, api, PREFECT_WORKER_QUERY_SECONDS="1", **more)
        with (checkout / "var/worker.log").open("ab") as log:
            started.append(subprocess.Popen(WORKER, cwd=checkout, env=env, stdout=log, stderr=log))
        return started[-1]

    yield start
    process_tree.end_by_force(*started)
    for one in started:
        one.wait()


def finished(name: str, work: Callable[..., subprocess.Popen[bytes]], **parameters: Any) -> tuple[Any, str]:
    """Run a deployment to its end; gives the run and its log."""
    from prefect import get_client

    worker = work()
    with get_client(sync_client=True) as client:
        run = start(client, name, **parameters)
        until = time.monotonic() + 240
        while not (found := client.read_flow_run(run)).state.is_final():
            assert time.monotonic() < until, found.state
            assert worker.poll() is None
            time.sleep(0.5)
        # lines reach the server in batches, the last ones after the state
        log = wait_for(lambda: "Finished in state" in (text := read_log(client, run)) and text, 60)
    # the run is over for Prefect a moment before its tree is removed
    wait_for(lambda: not processes())
    worker.terminate()
    worker.wait(60)
    return found, log


def processes() -> list[psutil.Process]:
    """Launchers, engines and stages of runs."""
    words = ("flows.worktree.launch", "flows.worktree.engine", "stage.py")
    found = [one for one in psutil.process_iter() if set(words) & set(_command(one))]
    return [one for one in found if one.pid != os.getpid()]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(look: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.3)
    return found


def start(client: Any, name: str, **parameters: Any) -> Any:
    deployment = client.read_deployment_by_name(f"{name}/{name}")
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def find_state(client: Any, run: Any) -> Any:
    return client.read_flow_run(run).state


def read_log(client: Any, run: Any) -> str:
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    return "\n".join(line.message for line in lines)


def artifact(run: Any, key: str) -> Any:
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return json.loads(next(one.data for one in found if one.key == key))


def state(checkout: Path) -> tuple[str, ...]:
    """All of the checkout that a run leaves alone."""
    return (
        git(checkout, "rev-parse", "HEAD"),
        git(checkout, "branch", "--show-current"),
        git(checkout, "status", "--short", "--untracked-files=all"),
        (checkout / "params.yaml").read_text(encoding="utf-8"),
    )


def test_a_run_of_its_own_tree(checkout: Path, api: str, work: Callable[..., subprocess.Popen[bytes]]) -> None:
    """Half-edited parameters and code of the checkout are neither used nor touched; the next run has nothing to do."""
    print(python(checkout, environment(checkout, api), "flows.server.deploy"))
    deployed = git(checkout, "rev-parse", "HEAD")
    set_prior(checkout, 0.1)
    (checkout / "stage.py").write_text("raise SystemExit('half-edited')", encoding="utf-8")
    (checkout / "flows/dvc/stage.py").write_text("half-edited(", encoding="utf-8")
    before = state(checkout)

    run, log = finished("retrain", work, why="test")
    assert run.state.is_completed(), log
    assert f"at the deployed commit {deployed}" in log
    assert run.name.startswith("retrain 20")
    assert run.name.endswith(" · by hand")
    assert state(checkout) == before
    assert not (checkout / "models/classifier").exists()
    # the branch names the run and has its results; the release names the branch's commit
    (branch,) = git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/retrain/").splitlines()
    assert str(run.id) in git(checkout, "log", "-1", "--format=%B", branch)
    assert json.loads(git(checkout, "show", f"{branch}:reports/validate/metrics.json"))["mcc"] == pytest.approx(0.9)
    live = status()
    assert live is not None
    assert standing().is_(live.release)
    release = promotion.load(live.release)
    assert release.manifest.revision["code"] == git(checkout, "rev-parse", branch)
    assert (psutil.Process(live.pid).cwd(), list((checkout / "var/worktrees").iterdir())) == (str(checkout), [])
    assert artifact(run, "stages") == [{"stage": "classifier", "state": "Completed"}]

    again, log = finished("retrain", work, why="again")
    assert again.state.is_completed(), log
    assert "stale stages: none" in log
    assert artifact(again, "stages") == [{"stage": "classifier", "state": f"unchanged since {run.name}"}]
    assert status() == live
    assert git(checkout, "for-each-ref", "--format=%(refname:short)", "refs/heads/retrain/") == branch

    weekly, log = finished("evaluate-champion", work)
    assert weekly.state.is_completed(), log
    figures = json.loads((checkout / "var/monitoring/champion.json").read_text(encoding="utf-8"))
    assert figures["release"] == live.release
    assert 0 <= figures["figures"]["accuracy"] <= 1
    assert state(checkout) == before
    assert list((checkout / "var/worktrees").iterdir()) == []


@pytest.mark.parametrize(
    ("end", "state", "message", "seconds"),
    [
        # the run ends by itself, as nobody could cancel it any more, and says so where it has the time
        ("worker", "Crashed", "aborted by a termination signal|no sign of life", LIMIT),
        # out of memory, for one: nothing of the run is left but its stage, which its guard ends
        ("all", "Crashed", "no sign of life", LIMIT),
        ("cancel", "Cancelled", "", 60),
    ],
)
def test_a_run_that_is_ended_leaves_nothing_and_the_next_one_goes_on(
    checkout: Path,
    api: str,
    work: Callable[..., subprocess.Popen[bytes]],
    end: str,
    state: str,
    message: str,
    seconds: float,
) -> None:
    from prefect import get_client
    from prefect.states import Cancelling

    python(checkout, environment(checkout, api), "flows.server.deploy")
    worker = work(TOY_SECONDS="300")
    with get_client(sync_client=True) as client:
        run = start(client, "retrain", why="test")
        wait_for(lambda: [one for one in processes() if "stage.py" in _command(one)], 300)
        begin, found = time.monotonic(), processes()
        assert len(found) >= 3
        if end == "cancel":
            client.set_flow_run_state(run, Cancelling())
        else:
            ended = [one for one in found if "stage.py" not in _command(one)] if end == "all" else []
            worker.kill()
            for one in ended:
                one.kill()
        wait_for(lambda: not [one for one in processes() if "stage.py" in _command(one)], 10)
        print(f"{end}: the stage is gone after {time.monotonic() - begin:.1f} s")
        # a cancelled run clears up after its stage
        wait_for(lambda: not processes(), begin + (20 if end == "cancel" else 10) - time.monotonic())
        print(f"{end}: the run is gone after {time.monotonic() - begin:.1f} s")
        last = wait_for(lambda: (now := find_state(client, run)).is_final() and now, seconds)
        print(f"{end}: {last.name}: {last.message}")
        assert last.name == state, last
        assert re.search(message, last.message or ""), last
        assert time.monotonic() - begin < seconds
        for name in ("gpu", "dvc"):
            assert client.read_global_concurrency_limit_by_name(name).active_slots == 0
    process_tree.end_by_force(worker)
    assert [path.name for path in (checkout / "var/worktrees").iterdir() if path.is_dir()] == [
        f"{path.stem}" for path in (checkout / "var/worktrees").glob("*.json")
    ]
    again, log = finished("retrain", work, why="again")
    assert again.state.is_completed(), log
    assert "an earlier run left the tree" in log
    assert list((checkout / "var/worktrees").iterdir()) == []
