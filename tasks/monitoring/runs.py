"""When a flow last succeeded and last failed, as series; a run is never failed by what it cannot write of itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.config import Params
from tasks.monitoring import pipeline
from tasks.monitoring.series import FLOW_FAILURE, FLOW_SECONDS, FLOW_SUCCESS
from tasks.monitoring.textfile import Samples, write

Say = Callable[[str], object]


@contextmanager
def recorded(flow: str, params: Params, say: Say) -> Iterator[None]:
    """Note how the block ends, and bring the series of the pipeline up to date.

    Success and failure lie in files of their own, so that a failed run does not take away when the last one succeeded.

    Args:
        flow: name of the flow, as in prefect.yaml.
        params: of the project.
        say: gets one line where the series cannot be written.
    """
    start = time.time()
    try:
        yield
    except BaseException:
        # cancelled runs have not succeeded either
        failed(flow, params, say)
        raise
    succeeded(flow, time.time() - start, params, say)


def succeeded(flow: str, seconds: float, params: Params, say: Say) -> None:
    """Note that a run succeeded now, after so many seconds."""
    refresh(params, say)
    series = {FLOW_SUCCESS: {(flow,): time.time()}, FLOW_SECONDS: {(flow,): seconds}}
    write_series(params.serve.metrics_folder, f"flow_{flow}", series, say)


def failed(flow: str, params: Params, say: Say) -> None:
    """Note that a run failed now."""
    refresh(params, say)
    write_series(params.serve.metrics_folder, f"flow_{flow}_failure", {FLOW_FAILURE: {(flow,): time.time()}}, say)


def refresh(params: Params, say: Say) -> None:
    """Bring the series of ledger, batches, reviews and gate up to date."""
    try:
        samples = pipeline.samples(params)
    except Exception as error:
        # a damaged review or report is reported by the run that needs it
        say(f"the series of the pipeline are not brought up to date: {type(error).__name__}: {error}")
    else:
        write_series(params.serve.metrics_folder, "pipeline", samples, say)


def write_series(folder: Path | None, name: str, samples: Samples, say: Say) -> None:
    """Write a file of series where there is a folder; what goes wrong is said and fails no run."""
    if folder is None:
        return
    try:
        write(folder, name.replace("-", "_"), samples)
    except OSError as error:
        say(f"{folder}: series cannot be written: {error}")
