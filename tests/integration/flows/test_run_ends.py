"""A flow that is interrupted, killed or cancelled while stages run: none of their processes is left, on real DVC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from cascade.process import tree
from flows.dvc.graph import read_pipeline, stale_stages
from tests.support import process_tree
from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]

LIMIT = 10.0
# two stages side by side, whose commands have descendants that are hard to end, and one that never comes to run
STAGES = """
stages:
  left:
    cmd: python tree.py left
    deps: [tree.py]
    outs: [left.txt]
  right:
    cmd: python tree.py right
    deps: [tree.py]
    outs: [right.txt]
  after:
    cmd: touch after.txt
    deps: [left.txt, right.txt]
    outs: [after.txt]
"""
# in a process of its own, as `make run` and Prefect's worker do it
FLOW = """
import sys
from pathlib import Path
import flows  # names the server before Prefect reads its settings
from prefect import flow
from flows.dvc.graph import read_pipeline, stale_stages
from flows.dvc.stage import run_stages

@flow(name="toy-run")
def toy(folder: str) -> None:
    graph = read_pipeline(Path(folder))
    run_stages(graph, stale_stages(graph))

if __name__ == "__main__":
    toy.serve(name="toy") if sys.argv[1] == "serve" else toy(sys.argv[1])
"""


@pytest.fixture
def folder(dvc_repository: Callable[[str], Path]) -> Path:
    made = dvc_repository(STAGES)
    (made / "tree.py").write_text(process_tree.TREE, encoding="utf-8")
    for name in ("left", "right"):
        (made / name).mkdir()
    return made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Run FLOW with a word; what is left of it ends with the test."""
    from prefect.settings import PREFECT_API_URL

    (tmp_path / "toy_flow.py").write_text(FLOW, encoding="utf-8")
    started: list[subprocess.Popen[bytes]] = []

    def go(word: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "STREETVISION_PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONPATH": str(ROOT)}
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, str(tmp_path / "toy_flow.py"), word]
            started.append(subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log))
        return started[-1]

    yield go
    process_tree.end_by_force(*started)
    for process in started:
        process.wait()


def stage_processes(folder: Path) -> list[psutil.Process]:
    """All that run for the two stages, from DVC down."""
    found: list[psutil.Process] = []
    for name in ("left", "right"):
        mine = process_tree.processes(folder / name, seconds=120)
        # its parents up to the flow: a shell, DVC, perhaps `nice`, the guard
        above = mine[-1].parents()
        guards = [at for at, one in enumerate(above) if any(word.endswith("guard.py") for word in one.cmdline())]
        found += [*mine, *above[: guards[0] + 1]]
    return found


def seconds_until_gone(found: list[psutil.Process]) -> float:
    """How long the processes lived on; fails after LIMIT."""
    begin = time.monotonic()
    while left := [one for one in found if tree.runs(one)]:
        assert time.monotonic() - begin < LIMIT, left
        time.sleep(0.05)
    return time.monotonic() - begin


@pytest.mark.parametrize(
    "number",
    [pytest.param(one, marks=pytest.mark.slow) for one in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)],
)
def test_a_signal_to_the_flow_ends_its_stages(
    folder: Path, start: Callable[[str], subprocess.Popen[bytes]], number: signal.Signals
) -> None:
    flow = start(str(folder))
    found = stage_processes(folder)
    assert len(found) >= 2 * (len(process_tree.NAMES) + 2)
    flow.send_signal(number)
    seconds_until_gone(found)
    # the flow too: Prefect waits for its threads
    assert flow.wait(LIMIT) != 0
    # and the next run is not kept waiting by locks of the dead
    assert stale_stages(read_pipeline(folder)) == {"left", "right", "after"}


@pytest.mark.slow
def test_cancelling_in_prefect_ends_the_stages(folder: Path, start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    """A runner takes the run from the server and hears there that it is to be cancelled, as a worker does."""
    from prefect import get_client
    from prefect.states import Cancelling

    runner = start("serve")
    with get_client(sync_client=True) as client:
        deployment = wait_for(lambda: deployment_id(client), runner)
        run = client.create_flow_run_from_deployment(deployment, parameters={"folder": str(folder)})
        found = stage_processes(folder)
        client.set_flow_run_state(run.id, Cancelling())
        seconds_until_gone(found)
        assert wait_for(lambda: state_of(client, run.id).is_cancelled(), runner)
    assert runner.poll() is None


def state_of(client: Any, run: UUID) -> Any:
    return client.read_flow_run(run).state


def deployment_id(client: Any) -> UUID | None:
    from prefect.exceptions import ObjectNotFound

    try:
        found: UUID = client.read_deployment_by_name("toy-run/toy").id
    except ObjectNotFound:
        return None
    return found


def wait_for(look: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float = 60.0) -> Any:
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert process.poll() is None, "the runner ended"
        assert time.monotonic() < until
        time.sleep(0.2)
    return found
