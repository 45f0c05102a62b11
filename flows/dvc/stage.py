"""The bridge to DVC: one Prefect task a stage. DVC owns the file graph and is the cache; Prefect owns when it runs."""

from __future__ import annotations

import logging
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait

from flows.dvc.artifacts import publish_metrics, publish_pages, publish_pictures
from flows.dvc.graph import DvcStage, Pipeline, PipelineError, dvc_command, stage_environment, wait_for_lock

TAIL_LINES = 200
POLITE = ("nice", "-n", "15")
Log: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_stages(pipeline: Pipeline, names: set[str]) -> None:
    """Submit `names` as their parents finish, independent ones side by side, and wait for all of them.

    Call it inside a flow. A failing stage stops only what depends on it, so its siblings' results are kept.

    Raises:
        PipelineError: names the stages that failed or could not start.
    """
    futures: dict[str, PrefectFuture[None]] = {}
    critical = pipeline.critical()
    for name, stage in pipeline.stages.items():
        if name in names:
            above = [futures[parent] for parent in stage.parents if parent in futures]
            politely = name not in critical
            futures[name] = run_stage.submit(stage, pipeline.root, politely, wait_for=above, return_state=False)
    wait(list(futures.values()))
    failed = [f"{name} ({future.state.name})" for name, future in futures.items() if not future.state.is_completed()]
    if failed:
        raise PipelineError(f"stages did not complete: {', '.join(failed)}; the log of the first one says why")


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: DvcStage, root: Path, politely: bool = False) -> None:
    """Run `dvc repro --single-item` on one stage in a process of its own, then publish its metrics, pages and pictures.

    The process gives memory and GPU back when it ends, whatever the stage did with them. A polite one takes the
    processor that the stages of the longest chain leave over.

    Raises:
        PipelineError: the stage failed, or another process kept its files busy for an hour.
    """
    _reproduce(stage.name, root, get_run_logger(), politely=politely)
    publish_metrics(stage)
    publish_pages(stage)
    publish_pictures(stage)


def _reproduce(name: str, root: Path, log: Log, *, politely: bool = False) -> None:
    """Run one stage; wait where another DVC process works on its files."""
    command = [*(POLITE if politely else ()), *dvc_command("repro", "--single-item", name)]
    code, output = wait_for_lock(
        lambda: _stream(command, root, log),
        lambda: log.info("another DVC process works on the files of %s; waiting", name),
    )
    if code != 0:
        last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
        raise PipelineError(f"stage {name} failed (exit {code}): {last}; try `dvc repro --single-item {name}`")


def _stream(command: list[str], root: Path, log: Log) -> tuple[int, str]:
    """Run a command, log its lines as they come, and give its exit code and last lines."""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with _child(command, root) as process:
        # universal newlines: a progress bar's carriage return ends a line too
        for line in process.stdout or ():
            if line.strip():
                log.info("%s", line.rstrip())
                tail.append(line.rstrip())
        code = process.wait()
    return code, "\n".join(tail)


@contextmanager
def _child(command: list[str], root: Path) -> Iterator[subprocess.Popen[str]]:
    """A child process that does not outlive this block, as when the run is cancelled."""
    process = subprocess.Popen(
        command,
        cwd=root,
        env=stage_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:  # closes the pipe and waits
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
