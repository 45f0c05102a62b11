"""Our events: the one that starts a retrain (prefect.yaml, `triggers`), and the warning of the model's age."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.common.files import read_json, write_json
from tasks.monitoring.drift import STATE
from tasks.monitoring.figures import MonitoredFigure

EVENT = "streetvision.mining.retrain-needed"
RESOURCE = "streetvision.mining"
AGE_EVENT = "streetvision.model-age.warning"
AGE_RESOURCE = "streetvision.model-age"
REQUESTED = STATE / "requested.json"


@task(cache_policy=NO_CACHE, persist_result=False)
def request_retrain(figures: Sequence[MonitoredFigure], day: str, requested: Path = REQUESTED) -> None:
    """Emit the event where a figure has passed its limit, once a day.

    Noted only afterwards: a run that is killed in between asks again, and a second retrain finds nothing to do.
    """
    passed = [figure for figure in figures if figure.is_passed]
    document: dict[str, str] = read_json(requested) if requested.is_file() else {}
    if not passed or day in document:
        return
    why = f"mining of {day}: " + ", ".join(f"{one.name} {one.value:g} (limit {one.limit:g})" for one in passed)
    emit_event(
        EVENT,
        resource={"prefect.resource.id": RESOURCE, "prefect.resource.name": "mine-daily"},
        payload={"why": why, "date": day, "figures": {one.name: one.value for one in figures}},
        id=uuid5(NAMESPACE_URL, f"{EVENT}/{day}"),
    )
    write_json(requested, {**document, day: why})
    get_run_logger().info("a retrain was requested: %s", why)
