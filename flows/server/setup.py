"""What deployments need on a Prefect server: pools, limits, automations; made where they are missing.

`make ui`, `streetvision up` and `make deploy` run `python -m flows.server.setup` before they deploy.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import yaml
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

import deploy
from flows.dvc.limits import make_limits
from flows.server.events import AGE_EVENT, AGE_RESOURCE
from flows.server.parts import POOLS

CLUSTER_POOL = "kubernetes"
# a package of the project, also where it is installed
POOL_FILE = Path(deploy.__file__).parent / "kubernetes" / "pool.yaml"
HEARTBEAT = "prefect.flow-run.heartbeat"
# three times `flows.heartbeat_frequency` of prefect.toml: one or two may get lost on a busy machine
SILENCE = timedelta(seconds=90)
# a state in which no process works for the run, or its process waits and says so itself
QUIET = ("Completed", "Failed", "Crashed", "Cancelled", "Paused", "Suspended", "TimedOut", "AwaitingRetry")
BAD = ("Failed", "Crashed", "TimedOut")
# in the environment: the address of a chat's incoming webhook
WEBHOOK = "STREETVISION_ALERT_WEBHOOK"
BLOCK = "streetvision-alerts"
ALERT = """{{ flow.name }}: {{ flow_run.name }} ended as {{ flow_run.state.name }}.
{{ flow_run.state.message }}
{{ flow_run|ui_url }}"""


def main() -> None:
    """Make all of it on the server of PREFECT_API_URL."""
    make_limits()
    with get_client(sync_client=True) as client:
        _make_pools(client)
        _make(client, mark_zombies())
        if url := os.environ.get(WEBHOOK):
            block = _block(url)
            for one in (alert(block), alert_of_age(block)):
                _make(client, one)
        elif not client.read_automations_by_name("alert-on-failure"):
            print(f"no alert goes out when a run fails: {WEBHOOK} is not set", flush=True)


def _make_pools(client: SyncPrefectClient) -> None:
    for name in POOLS:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process", description="docs/operations.md"))
    _make_cluster_pool(client)


def _make_cluster_pool(client: SyncPrefectClient) -> None:
    """The pool of `retrain-kubernetes`; its template is brought up to date, and without a worker nothing runs there."""
    template = yaml.safe_load(POOL_FILE.read_text(encoding="utf-8"))
    try:
        client.read_work_pool(CLUSTER_POOL)
        client.update_work_pool(CLUSTER_POOL, WorkPoolUpdate(base_job_template=template))
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=CLUSTER_POOL, type="kubernetes", description="docs/kubernetes.md", base_job_template=template
            )
        )


def mark_zombies() -> AutomationCore:
    """A run whose process was killed says nothing more: it is marked as crashed, which frees its place."""
    quiet = {f"prefect.flow-run.{state}" for state in QUIET}
    return AutomationCore(
        name="mark-zombies",
        description="A run without a sign of life is marked as crashed.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *quiet},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no sign of life: its process was killed")],
    )


def alert(block: UUID) -> AutomationCore:
    """A message for each run that fails."""
    return AutomationCore(
        name="alert-on-failure",
        description=f"A message to {WEBHOOK} for each run that fails.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in BAD},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=block, subject="StreetVision", body=ALERT)],
    )


def alert_of_age(block: UUID) -> AutomationCore:
    """A message where the live release comes to an age of `clock.warn_days`."""
    return AutomationCore(
        name="alert-on-model-age",
        description=f"A message to {WEBHOOK} where the live release comes to a warning of its age.",
        trigger=EventTrigger(
            expect={AGE_EVENT},
            match=ResourceSpecification({"prefect.resource.id": [AGE_RESOURCE]}),
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=block, subject="StreetVision", body="{{ event.payload.text }}")],
    )


def _block(url: str) -> UUID:
    """The webhook as a block: Slack, Mattermost and Teams take `text`. The address is a secret of the block."""
    block = CustomWebhookNotificationBlock(
        name=BLOCK, url="{{address}}", json_data={"text": "{{subject}}: {{body}}"}, secrets={"address": url}
    )
    return UUID(str(block.save(BLOCK, overwrite=True)))


def _make(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make an automation, or bring the one of that name up to date; one that was switched off stays off."""
    there = client.read_automations_by_name(wanted.name)
    if there:
        client.update_automation(there[0].id, wanted.model_copy(update={"enabled": there[0].enabled}))
    else:
        client.create_automation(wanted)


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    main()
