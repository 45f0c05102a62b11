"""How each run of a flow ended, as series for Prometheus: hooks that Prefect calls in the flow's process."""

from __future__ import annotations

from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_logger

from tasks.config import ConfigError, load_params
from tasks.monitoring import runs

# not that of the run: a crashed one has no context any more
log = get_logger("streetvision")


def note_success(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Note when the run succeeded and how long it took."""
    start = flow_run.start_time
    seconds = (state.timestamp - start).total_seconds() if start else 0.0
    runs.succeeded(flow.name, seconds, load_params(), log.warning)


def note_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Note when the run failed, was cancelled or crashed."""
    try:
        params = load_params()
    except ConfigError:
        # the flow itself failed by it, and said so
        return
    runs.failed(flow.name, params, log.warning)


# of `@flow`
RECORDED: dict[str, Any] = {
    "on_completion": [note_success],
    "on_failure": [note_failure],
    "on_cancellation": [note_failure],
    "on_crashed": [note_failure],
}
