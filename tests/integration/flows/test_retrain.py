"""The bridge to DVC on a toy repository: real DVC, real Prefect server, stages that only write files."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.dvc import graph as pipeline
from flows.dvc import locks, progress
from flows.dvc import stage as stages
from flows.dvc.artifacts import artifact_key
from flows.dvc.errors import PipelineError
from flows.dvc.graph import read_pipeline, stale_stages
from tasks.config.orchestration import OrchestrationParams

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]

# left and right leave a mark and wait for the other's: alone, either would fail
DIAMOND = """
stages:
  source:
    cmd: python -c "print('hello from source'); open('source.txt', 'w').write('1')"
    outs: [source.txt]
  left:
    cmd: python meet.py left right
    deps: [source.txt, meet.py]
    outs: [left.txt]
    plots: [plots_left]
    metrics: [report_left/metrics.json: {cache: false}]
  right_side:
    cmd: python meet.py right left
    deps: [source.txt, meet.py]
    outs: [right.txt]
    plots: [plots_right]
    metrics: [report_right/metrics.json: {cache: false}]
  join:
    cmd: python -c "open('join.txt', 'w').write(open('left.txt').read() + open('right.txt').read())"
    deps: [left.txt, right.txt]
    outs: [join.txt]
"""
MEET = """
import json, pathlib, sys, time
from PIL import Image
mine, other = sys.argv[1:]
pathlib.Path(f"here.{mine}").touch()
until = time.monotonic() + 90
while not pathlib.Path(f"here.{other}").exists():
    assert time.monotonic() < until, "the other stage never ran beside this one"
    time.sleep(0.05)
pathlib.Path(f"{mine}.txt").write_text(mine)
report = pathlib.Path(f"report_{mine}")
report.mkdir(exist_ok=True)
(report / "engines.md").write_text(f"| {mine} |")
(report / "metrics.json").write_text(json.dumps({"mcc": 0.5, "slices": {"night": 1}}))
folder = pathlib.Path(f"plots_{mine}")
folder.mkdir(exist_ok=True)
Image.new("RGB", (1200, 40)).save(folder / "pr_curve.png")
"""
FAILING = """
stages:
  good:
    cmd: python -c "open('good.txt', 'w').write('1')"
    outs: [good.txt]
  bad:
    cmd: python -c "raise SystemExit('no disk left')"
    outs: [bad.txt]
  after_bad:
    cmd: python -c "open('after.txt', 'w').write('1')"
    deps: [bad.txt]
    outs: [after.txt]
  after_good:
    cmd: python -c "open('after_good.txt', 'w').write('1')"
    deps: [good.txt]
    outs: [after_good.txt]
"""


def run(folder: Path, limits: OrchestrationParams | None = None) -> Any:
    """Run all stale stages of a repository in a flow and give the flow run's final state."""
    from prefect import flow

    @flow
    def toy() -> None:
        graph = read_pipeline(folder)
        stages.run_stages(graph, stale_stages(graph), limits)

    return toy(return_state=True)


def seen(state: Any) -> tuple[dict[str, Any], dict[str, list[Any]], str]:
    """Task runs by name, artifacts by key, and the whole log of one flow run, as the server has them."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId

    async def ask() -> tuple[dict[str, Any], dict[str, list[Any]], str]:
        run_id = state.state_details.flow_run_id
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
        async with get_client() as client:
            tasks = await client.read_task_runs(flow_run_filter=mine)
            artifacts: dict[str, list[Any]] = {}
            for artifact in await client.read_artifacts(flow_run_filter=mine):
                artifacts.setdefault(artifact.key, []).append(artifact)
            for _ in range(150):  # logs reach the server in batches; the flow's own last line comes after its tasks'
                logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
                if any("Finished in state" in log.message and log.task_run_id is None for log in logs):
                    break
                await asyncio.sleep(0.2)
        return {one.name: one for one in tasks}, artifacts, "\n".join(log.message for log in logs)

    return asyncio.run(ask())


def test_stages_follow_the_graph_and_leave_artifacts(dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(DIAMOND)
    (folder / "meet.py").write_text(MEET, encoding="utf-8")
    state = run(folder)
    assert state.is_completed(), state.message
    assert (folder / "join.txt").read_text(encoding="utf-8") == "leftright"

    tasks, artifacts, log = seen(state)
    ids = {task.id: name for name, task in tasks.items()}
    edges = {(ids[above.id], name) for name, task in tasks.items() for above in task.task_inputs.get("wait_for", [])}
    graph = read_pipeline(folder).stages
    assert edges == {(parent, name) for name, stage in graph.items() for parent in stage.parents}
    assert read_pipeline(folder).critical() == {"source", "left", "right_side", "join"}
    assert edges == {("source", "left"), ("source", "right_side"), ("left", "join"), ("right_side", "join")}
    assert "hello from source" in log

    assert set(artifacts) == {
        f"{stage}-{what}" for stage in ("left", "right-side") for what in ("metrics", "engines", "pr-curve")
    }
    assert artifacts["left-engines"][0].data == "| left |"
    table = json.loads(artifacts["left-metrics"][0].data)
    assert table == [{"metric": "mcc", "value": 0.5}, {"metric": "slices.night", "value": 1}]
    assert "(data:image/png;base64," in artifacts["left-pr-curve"][0].data

    assert stale_stages(read_pipeline(folder)) == set()


@pytest.mark.slow
def test_a_failing_stage_fails_the_run_and_keeps_its_siblings(dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(FAILING)
    state = run(folder)
    assert state.is_failed()
    tasks, _, log = seen(state)
    states = {name: task.state_name for name, task in tasks.items()}
    assert states == {"good": "Completed", "bad": "Failed", "after_bad": "NotReady", "after_good": "Completed"}
    assert (folder / "after_good.txt").exists()
    assert "no disk left" in log
    assert stale_stages(read_pipeline(folder)) == {"bad", "after_bad"}


LONG = """
stages:
  long:
    cmd: >-
      python -c "import os, time; open('pid', 'w').write(str(os.getpid())); print('step 1/4', flush=True);
      time.sleep(float(open('seconds').read())); print('step 4/4', flush=True); open('long.txt', 'w').write('1')"
    deps: [seconds]
    outs: [long.txt]
"""


@pytest.mark.slow
def test_a_stage_that_takes_too_long_is_ended(dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(LONG)
    (folder / "seconds").write_text("600", encoding="utf-8")
    state = run(folder, OrchestrationParams(stage_hours=1000, stage_hours_of={"long": 15 / 3600}))
    assert state.is_failed()
    _, _, log = seen(state)
    assert "stage long took longer than" in log
    assert "orchestration.stage_hours" in log
    assert not psutil.pid_exists(int((folder / "pid").read_text(encoding="utf-8")))
    assert stale_stages(read_pipeline(folder)) == {"long"}


@pytest.mark.slow
def test_a_long_stage_has_a_bar(dvc_repository: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", 0.0)
    folder = dvc_repository(LONG)
    (folder / "seconds").write_text("0.1", encoding="utf-8")
    state = run(folder)
    assert state.is_completed(), state.message
    _, artifacts, _ = seen(state)
    assert [(one.type, one.data) for one in artifacts["long-progress"]] == [("progress", 100.0)]


@pytest.mark.slow
def test_a_run_waits_while_another_dvc_works_on_its_files(
    dvc_repository: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a path, which DVC itself does not wait for: neither in `status` nor in `repro`."""
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0.5)
    command = "open('here', 'w').close(); time.sleep(10); open('slow.txt', 'w').write('1')"
    folder = dvc_repository(f'stages:\n  slow:\n    cmd: python -c "import time; {command}"\n    outs: [slow.txt]\n')
    everything = pipeline.read_pipeline(folder)
    repro = pipeline.dvc_command("repro", "--single-item", "slow")
    waits: list[str] = []
    with subprocess.Popen(repro, cwd=folder, env=pipeline.stage_environment()) as other:
        while not (folder / "here").exists():
            assert other.poll() is None
        code, output = locks.wait_for_lock(
            folder, lambda: stages._stream(repro, folder, stages.RunningStages(), logging.getLogger()), waits.append
        )
        assert stale_stages(everything) == set()
    assert code == 0, output
    assert any("rwlock is held by process" in line and "repro --single-item slow" in line for line in waits)
    assert "didn't change, skipping" in output


ONE = """
stages:
  one:
    cmd: python -c "open('one.txt', 'w').write('1')"
    outs: [one.txt]
"""


@pytest.mark.slow
def test_an_entry_whose_process_id_lives_again_does_not_stop_the_run(
    dvc_repository: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC itself refuses: it asks only whether the id lives. Process 1 always does."""
    monkeypatch.setattr(locks, "LIMIT_SECONDS", 0.0)
    folder = dvc_repository(ONE)
    held = {"pid": 1, "cmd": "/x/dvc repro one"}
    file = folder / ".dvc/tmp/rwlock"
    file.write_text(json.dumps({"write": {str(folder / "one.txt"): held}, "read": {}}))
    refused = subprocess.run(pipeline.dvc_command("repro"), cwd=folder, capture_output=True, text=True, check=False)
    assert "blocked by" in refused.stderr
    assert stale_stages(read_pipeline(folder)) == {"one"}
    assert f"{file}: process 1 (`/x/dvc repro one`) is gone" in capsys.readouterr().out
    stages._reproduce("one", folder, stages.RunningStages(), logging.getLogger())
    assert (folder / "one.txt").is_file()


def test_an_empty_lock_file_holds_nobody_up(dvc_repository: Callable[[str], Path]) -> None:
    """As DVC leaves it when it is killed while it writes; DVC itself refuses it."""
    folder = dvc_repository(ONE)
    (folder / ".dvc/tmp/rwlock").touch()
    command = [sys.executable, "-m", "dvc", "repro", "--dry"]
    assert b"corrupted" in subprocess.run(command, cwd=folder, capture_output=True, check=False).stderr
    assert stale_stages(read_pipeline(folder)) == {"one"}


def test_a_damaged_lock_file_is_named_and_its_remedy_works(dvc_repository: Callable[[str], Path]) -> None:
    folder = dvc_repository(ONE)
    file = folder / ".dvc/tmp/rwlock"
    file.write_text("[]")
    with pytest.raises(PipelineError, match=rf"{file}: is damaged") as error:
        stale_stages(read_pipeline(folder))
    remedy = str(error.value).split("`")[-2]
    subprocess.run(shlex.split(remedy), check=True)
    assert stale_stages(read_pipeline(folder)) == {"one"}


def test_no_stages_is_said(tmp_path: Path, dvc_repository: Callable[[str], Path]) -> None:
    with pytest.raises(PipelineError, match=r"dvc\.yaml: no stages"):
        read_pipeline(dvc_repository("stages: {}\n"))
    with pytest.raises(PipelineError, match="cannot read the pipeline"):
        read_pipeline(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("pull_data", "metrics"), "pull-data-metrics"),
        (("export@dinov2", "PR curve"), "export-dinov2-pr-curve"),
        (("train", "", "metrics"), "train-metrics"),
    ],
)
def test_keys_are_what_prefect_takes(parts: tuple[str, ...], key: str) -> None:
    assert artifact_key(*parts) == key
