"""What is worth a second try: input and output alone. An error of code or data would only come again."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State


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
