"""Prefect's schedules: whether each has a next run, and how its last one ended. Prefect is asked over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from tasks.common.environment import SERVER, SERVER_KEY
from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.registry import Context, check

FILE = Path("prefect.yaml")
LATE = timedelta(minutes=5)
SECONDS = 4.0
RUN = dict[str, Any]


@check("schedules")
def schedules(context: Context) -> Iterator[Finding]:
    """Of the server that STREETVISION_PREFECT_API_URL names, else of `make ui` or `streetvision up` on this machine."""
    url, key = api_url(), os.environ.get(SERVER_KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    start = "`streetvision up`, `make ui`, or set STREETVISION_PREFECT_API_URL"
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=SECONDS, trust_env="127.0.0.1" not in url) as client:
            deployments = _post(client, "/deployments/filter", {})
            ids = {"deployment_id": {"any_": [one["id"] for one in deployments]}}
            runs = _runs(client, ids, ["SCHEDULED"], "EXPECTED_START_TIME_ASC")
            ended = _runs(client, ids, ["COMPLETED", "FAILED", "CRASHED"], "END_TIME_DESC")
    except httpx.HTTPStatusError as failure:
        yield error(
            f"Prefect at {url} answers {failure.response.status_code}",
            "its log says why; see STREETVISION_PREFECT_API_KEY",
        )
        return
    except httpx.HTTPError as failure:
        if SERVER in os.environ:
            yield error(
                f"Prefect at {url} does not answer ({type(failure).__name__})", f"start it, or correct {SERVER}"
            )
        else:
            yield not_asked(f"no Prefect server answers at {url}: nothing runs by schedule here", start)
        return
    yield from judge_schedules(deployments, runs, ended, wanted_schedules(), datetime.now(UTC))


def api_url() -> str:
    """The server's address; flows/server/parts.py has the same default."""
    return os.environ.get(SERVER) or f"http://127.0.0.1:{os.environ.get('PREFECT_PORT', '4200')}/api"


def wanted_schedules(file: Path = FILE) -> set[str]:
    """Names of the deployments of prefect.yaml that have an active schedule."""
    if not file.is_file():
        return set()
    document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    listed = [
        one for one in document.get("deployments", ()) if any(s.get("active", True) for s in one.get("schedules") or ())
    ]
    return {one["name"] for one in listed}


def judge_schedules(
    deployments: list[RUN], runs: list[RUN], ended: list[RUN], wanted: set[str], now: datetime
) -> Iterator[Finding]:
    """Say of each deployment with a schedule when it runs next.

    Args:
        deployments: as the API gives them.
        runs: scheduled runs, the next one first.
        ended: runs that have ended, the newest first.
        wanted: names of deployments that prefect.yaml gives a schedule.
        now: UTC.
    """
    names = {one["name"] for one in deployments}
    for name in sorted(wanted - names):
        yield error(
            f"{name}: prefect.yaml has a schedule, and the server does not know it", "`make deploy`, or `make ui`"
        )
    for one in sorted(deployments, key=lambda deployment: str(deployment["name"])):
        active = [schedule for schedule in one.get("schedules") or () if schedule.get("active")]
        if active and not one.get("paused"):
            yield _next_run(one, [run for run in runs if run["deployment_id"] == one["id"]], now)
        elif one["name"] in wanted:
            yield warning(
                f"{one['name']}: its schedule is paused", "switch it on on the deployment's page in the Prefect UI"
            )
        if (last := next((run for run in ended if run["deployment_id"] == one["id"]), None)) is not None:
            yield from _last_run(one["name"], last)


def _next_run(deployment: RUN, runs: list[RUN], now: datetime) -> Finding:
    name = deployment["name"]
    if not runs:
        return error(
            f"{name}: its schedule is active, and no run is planned",
            "see the server's log and the check `versions`: SQLAlchemy 2.1 does that; then start the server anew",
        )
    when = _time(runs[0]["expected_start_time"])
    if now - when > LATE:
        return error(
            f"{name}: a run has been waiting since {when:%Y-%m-%d %H:%M} UTC",
            "no worker takes it: `streetvision up`, or `prefect worker start --pool POOL`",
        )
    return ok(f"{name}: next run {when:%Y-%m-%d %H:%M} UTC")


def _last_run(name: str, run: RUN) -> Iterator[Finding]:
    when = _time(run["end_time"]) if run.get("end_time") else None
    if run["state_type"] != "COMPLETED":
        at = f" at {when:%Y-%m-%d %H:%M} UTC" if when else ""
        yield warning(
            f"{name}: the last run, {run['name']}, has {run['state_type'].lower()}{at}",
            "its page in the Prefect UI has the log",
        )
    elif when:
        yield ok(f"{name}: last success {when:%Y-%m-%d %H:%M} UTC")


def _runs(client: httpx.Client, of: RUN, states: list[str], sort: str) -> list[RUN]:
    return _post(
        client,
        "/flow_runs/filter",
        {"flow_runs": {**of, "state": {"type": {"any_": states}}}, "sort": sort, "limit": 200},
    )


def _post(client: httpx.Client, path: str, body: RUN) -> list[RUN]:
    answer = client.post(path, json=body)
    answer.raise_for_status()
    return list(answer.json())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
