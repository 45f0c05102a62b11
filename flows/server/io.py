"""Which failures are tried again: those of input and output. An error of code or data would only come again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

P = ParamSpec("P")
R = TypeVar("R")


def mlflow_task(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Decorate what writes to MLflow, which may be away for a moment: it is tried twice more.

    Args:
        name: of its runs.
    """
    return task(
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=10,
        retry_condition_fn=is_io,
    )


def is_io(task: Any, run: Any, state: State[Any]) -> bool:
    """Whether a task ended by a disk, a database or a server that did not answer; a condition of Prefect's retries."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError) or isinstance(_cause(error), OSError) or _is_of_library(_cause(error))


def _cause(error: Any) -> BaseException | None:
    """What one of our errors was made of; our own checks name none."""
    return error.__cause__ if isinstance(error, BaseException) else None


def _is_of_library(error: BaseException | None) -> bool:
    """Whether MLflow or its database raised it."""
    return error is not None and type(error).__module__.split(".")[0] in ("mlflow", "sqlalchemy", "httpx", "requests")
