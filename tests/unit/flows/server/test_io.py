"""Which failures of a task are tried again."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import State, StateType
from sqlalchemy.exc import OperationalError

from flows.server.io import is_io
from tasks.release.tracking import RegisterError


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # a disk, a network
        (OSError(28, "No space left on device"), True),
        (ConnectionResetError("reset"), True),
        # one of ours that such a one has caused
        (caused(RegisterError("MLflow does not answer"), TimeoutError()), True),
        (caused(RegisterError("MLflow does not answer"), OperationalError("SELECT 1", {}, Exception("gone"))), True),
        # our own check: it only comes again
        (RegisterError("damaged"), False),
        (caused(ValueError("bad figure"), KeyError("mcc")), False),
        (ZeroDivisionError("division by zero"), False),
    ],
)
def test_is_io(error: Exception, expected: bool) -> None:
    state: State[object] = State(type=StateType.FAILED, data=error)
    assert is_io(None, None, state) is expected
