"""What becomes of an exception in the log of a run."""

from __future__ import annotations

import logging

import pytest
from prefect import flow, task

from flows.server.one_line import LOGGERS, ONE_LINE, shorten_errors
from tasks.data.schema import DataError
from tasks.release.gate import GateError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        # ours: what happened and what to do stand in it
        (DataError("data/pulled/train.parquet: no such file"), "failed: data/pulled/train.parquet: no such file"),
        (GateError("mcc 0.1 is below 0.5"), "failed: mcc 0.1 is below 0.5"),
        # a sign of formatting in it is text
        (DataError("50% of 100%s"), "failed: 50% of 100%s"),
        # nobody has foreseen these
        (ValueError("bad"), None),
        (KeyError("mcc"), None),
    ],
)
def test_errors_of_ours_lose_their_traceback(error: Exception, message: str | None) -> None:
    try:
        raise error
    except Exception as raised:
        info = (type(raised), raised, raised.__traceback__)
    record = logging.LogRecord("prefect.flow_runs", logging.ERROR, "", 1, "Encountered %r", (error,), info)
    assert ONE_LINE.filter(record)
    assert record.getMessage() == (message or f"Encountered {error!r}")
    assert (record.exc_info is None) == (message is not None)


def test_a_record_without_an_exception_stays() -> None:
    record = logging.LogRecord("prefect.flow_runs", logging.INFO, "", 1, "stale stages: %s", ("none",), None)
    assert ONE_LINE.filter(record)
    assert record.getMessage() == "stale stages: none"


@pytest.mark.usefixtures("prefect_server")
def test_prefect_logs_through_it(caplog: pytest.LogCaptureFixture) -> None:
    """A flow and a task that fail, by Prefect's real engine."""

    @task
    def fails() -> None:
        raise DataError("no such file")

    @flow
    def whole() -> None:
        fails()

    with pytest.raises(DataError):
        whole()
    said = {(one.name, one.getMessage(), one.exc_info) for one in caplog.records if one.levelname == "ERROR"}
    assert {(name, "failed: no such file", None) for name in LOGGERS} <= said


def test_a_second_call_changes_nothing() -> None:
    """The first one came with the package `flows`, on which the test before depends."""
    shorten_errors()
    assert [logging.getLogger(name).filters.count(ONE_LINE) for name in LOGGERS] == [1, 1]
