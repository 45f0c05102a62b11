"""The bridge to DVC: one Prefect task a stage. DVC owns the file graph and is the cache; Prefect owns when it runs."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any, TypeAlias

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from cascade.process.supervisor import Supervised
from flows.dvc.artifacts import publish_metrics, publish_pages, publish_pictures
from flows.dvc.errors import PipelineError
from flows.dvc.graph import DvcStage, Pipeline, dvc_command, stage_environment
from flows.dvc.limits import slot
from flows.dvc.locks import wait_for_lock
from flows.dvc.origin import note_run, publish_stages
from flows.dvc.progress import Progress
from tasks.config.orchestration import OrchestrationParams

TAIL_LINES = 200
# Linux divides the processor among sessions before it looks at niceness (sched(7), autogroup), and a stage has its own.
# Threads of OpenMP spin where one of them waits for a core: beside two busy processes that took a third of the time.
LOW_PRIORITY = (
    "sh",
    "-c",
    'echo 15 2>/dev/null >/proc/$$/autogroup; OMP_WAIT_POLICY=passive exec nice -n 15 "$@"',
    "low-priority",
)
Log: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]


class RunningStages:
    """The processes of the stages of one run, to end them together when the run ends before they do.

    A stage runs in a thread of Prefect's, which a signal or an exception of the flow does not reach, and for which
    Prefect waits.
    """

    def __init__(self, limits: OrchestrationParams | None = None) -> None:
        self.limits = limits or OrchestrationParams()
        self._children: set[Supervised] = set()
        self._lock = threading.Lock()
        self._ended = False

    def ended(self) -> bool:
        """Whether the run has ended."""
        return self._ended

    @contextmanager
    def start(self, command: list[str], root: Path) -> Iterator[Supervised]:
        """Run a command in `root`, its output in one pipe; it ends with the block at the latest.

        Raises:
            PipelineError: the run has ended.
        """
        with self._lock:
            if self._ended:
                raise PipelineError("the run was ended; no further stage starts")
            child = Supervised(command, cwd=root, env=stage_environment(), stdout=subprocess.PIPE, text=True)
            self._children.add(child)
        try:
            with child:
                yield child
        finally:
            self._children.discard(child)

    def end(self) -> None:
        """End all of them with their descendants, and let no other start."""
        with self._lock:
            self._ended = True
            children = tuple(self._children)
        # all at once: a second Ctrl-C may cut the wait short, and their guards end them nevertheless
        for child in children:
            child.ask_to_end()
        for child in children:
            child.stop()


def run_stages(
    pipeline: Pipeline, names: set[str], limits: OrchestrationParams | None = None, noted: Path | None = None
) -> None:
    """Submit `names` as their parents finish, independent ones side by side, and wait for all of them.

    Call it inside a flow. A failing stage stops only what depends on it, so its siblings' results are kept. Where the
    flow is cancelled or interrupted, the processes of its stages end first.

    Args:
        pipeline: all stages.
        names: of those that run.
        limits: their time-outs, and which share the graphics card.
        noted: file that remembers which run made what; None: no table of the stages is published.

    Raises:
        PipelineError: names the stages that failed or could not start.
    """
    running = RunningStages(limits)
    try:
        futures = _submit(pipeline, names, running)
        wait(list(futures.values()))
    finally:
        running.end()
    if noted is not None:
        _report(pipeline, {name: future.state for name, future in futures.items()}, noted)
    failed = [f"{name} ({future.state.name})" for name, future in futures.items() if not future.state.is_completed()]
    if failed:
        raise PipelineError(f"stages did not complete: {', '.join(failed)}; the log of the first one says why")


def _report(pipeline: Pipeline, states: dict[str, State[Any]], noted: Path) -> None:
    """Note which stages this run has made, and publish what became of all of them."""
    made = [name for name, state in states.items() if state.is_completed()]
    note_run(pipeline.root, made, flow_run.name or "a run without a name", noted)
    shown = {name: (states[name].name or "") if name in states else "" for name in pipeline.stages}
    publish_stages(pipeline.root, shown, noted)


def _submit(pipeline: Pipeline, names: set[str], running: RunningStages) -> dict[str, PrefectFuture[None]]:
    futures: dict[str, PrefectFuture[None]] = {}
    critical = pipeline.critical()
    for name, stage in pipeline.stages.items():
        if name in names:
            above = [futures[parent] for parent in stage.parents if parent in futures]
            low_priority = name not in critical
            futures[name] = run_stage.submit(
                stage, pipeline.root, running, low_priority, wait_for=above, return_state=False
            )
    return futures


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: DvcStage, root: Path, running: RunningStages, low_priority: bool = False) -> None:
    """Run `dvc repro --single-item` on one stage in a process of its own, then publish its metrics, pages and pictures.

    The process gives memory and GPU back when it ends, whatever the stage did with them. One of low priority takes the
    processor that the stages of the longest chain leave over.

    Raises:
        PipelineError: the stage failed or took too long, or another process kept its files busy for an hour.
    """
    with slot("gpu", running.ended) if stage.name in running.limits.gpu_stages else nullcontext():
        _reproduce(stage.name, root, running, get_run_logger(), low_priority=low_priority)
    publish_metrics(stage)
    publish_pages(stage)
    publish_pictures(stage)


def _reproduce(name: str, root: Path, running: RunningStages, log: Log, *, low_priority: bool = False) -> None:
    """Run one stage; wait where another DVC process works on its files."""
    command = [*(LOW_PRIORITY if low_priority else ()), *dvc_command("repro", "--single-item", name)]
    seconds, late = running.limits.seconds_of(name), threading.Event()
    progress = Progress(name)

    def attempt() -> tuple[int, str]:
        return _stream(command, root, running, log, seconds, late, progress)

    code, output = wait_for_lock(root, attempt, lambda line: log.info("%s: %s", name, line))
    if late.is_set():
        raise PipelineError(
            f"stage {name} took longer than {seconds / 3600:g} h (orchestration.stage_hours) and was ended"
        )
    if code != 0:
        last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
        raise PipelineError(f"stage {name} failed (exit {code}): {last}; try `dvc repro --single-item {name}`")


def _stream(
    command: list[str],
    root: Path,
    running: RunningStages,
    log: Log,
    seconds: float = TIMEOUT_MAX,
    late: threading.Event | None = None,
    progress: Progress | None = None,
) -> tuple[int, str]:
    """Run a command, log its lines as they come, and give its exit code and last lines.

    After `seconds` it is ended, and `late` is set.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with running.start(command, root) as process, _deadline(process, seconds, late):
        # universal newlines: a progress bar's carriage return ends a line too
        for line in process.stdout or ():
            if line.strip():
                log.info("%s", line.rstrip())
                tail.append(line.rstrip())
                if progress:
                    progress.see(line)
        code = process.wait()
    if progress and code == 0:
        progress.finish()
    return code, "\n".join(tail)


@contextmanager
def _deadline(process: Supervised, seconds: float, late: threading.Event | None) -> Iterator[None]:
    """End a process that is not done in time."""

    def end() -> None:
        if late:
            late.set()
        process.ask_to_end()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
