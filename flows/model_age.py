"""Every day: how old the live release is, and a warning where it comes to a limit. `python -m flows.model_age`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from flows.server.events import AGE_EVENT, AGE_RESOURCE
from flows.server.names import run_name
from tasks.common.files import read_json, write_json
from tasks.config import load_params
from tasks.release import ledger
from tasks.release.age import ModelAge, champion_age

KEY = "model-age"  # one page with all its versions
WARNED = Path("var/model-age.json")


@flow(name="model-age", flow_run_name=run_name)
def model_age() -> None:
    """Say how old the live release is; emit an event for each warning that begins, once a release.

    The limits are `clock.warn_days` and `clock.valid_days` of params.yaml.
    """
    lines = ledger.read()
    age = champion_age(lines, load_params().clock, datetime.now(UTC))
    if age is None:
        get_run_logger().warning("no release is live")
        return
    create_markdown_artifact(
        markdown=f"Release `{lines[-1].release}`: {age.sentence}.", key=KEY, description=age.sentence
    )
    get_run_logger().log(30 if age.warning else 20, "%s", age.sentence)
    warn(age, lines[-1].release)


def warn(age: ModelAge, release: str, warned: Path = WARNED) -> bool:
    """Emit the event of the last warning that has begun; False where there is none, or it was emitted before."""
    before = _warned(warned, release)
    if age.warning <= before:
        return False
    emit_event(
        AGE_EVENT,
        resource={"prefect.resource.id": AGE_RESOURCE, "prefect.resource.name": release},
        payload={"text": f"release {release}: {age.sentence}", "days": age.days, "days_left": age.days_left},
        id=uuid5(NAMESPACE_URL, f"{AGE_EVENT}/{release}/{age.warning}"),
    )
    write_json(warned, {"release": release, "warning": age.warning})
    return True


def _warned(file: Path, release: str) -> int:
    """How many warnings of a release were emitted; those of another one do not count."""
    try:
        noted = read_json(file)
    except (OSError, ValueError):
        return 0
    return int(noted.get("warning", 0)) if noted.get("release") == release else 0


if __name__ == "__main__":
    model_age()
