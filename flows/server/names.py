"""Names of flow runs: what, for which day, and who asked."""

from __future__ import annotations

import datetime
from typing import Any

from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run

# how Prefect's server says who created a run
BY = {"SCHEDULE": "scheduled", "AUTOMATION": "by event"}


def run_name() -> str:
    """`retrain 2026-12-01 · scheduled`: the flow, the day it was meant for (UTC), and who asked for it."""
    return f"{flow_run.flow_name} {scheduled_day():%Y-%m-%d} · {_creator()}"


def scheduled_day() -> datetime.date:
    """A run that starts late, or again, belongs to the day it was meant for."""
    when: Any = flow_run.scheduled_start_time
    return (when or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC).date()


def _creator() -> str:
    if flow_run.id is None:
        return "by hand"
    with get_client(sync_client=True) as client:
        try:
            by = client.read_flow_run(flow_run.id).created_by
        except PrefectHTTPStatusError:
            return "by hand"
    return BY.get(str(by.type) if by else "", "by hand")
