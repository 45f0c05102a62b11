"""Ask for a person's decision on a release: a run of the deployment `approve/approve`, once a release."""

from __future__ import annotations

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import ObjectNotFound

DEPLOYMENT = "approve/approve"


@task(cache_policy=NO_CACHE, persist_result=False)
def request_approval(release_id: str) -> None:
    """Start the run that waits for the person, and do not wait for it; say what to do where no server has it."""
    by_hand = f"`streetvision promote {release_id} --why TEXT`"
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            get_run_logger().warning(
                "release %s waits for a person (promotion.approval.required), and this Prefect server has no"
                " deployment %s: %s",
                release_id,
                DEPLOYMENT,
                by_hand,
            )
            return
        run = client.create_flow_run_from_deployment(
            deployment.id,
            parameters={"release_id": release_id},
            # a release that was declined, or that nobody decided on in time, is not asked about again
            idempotency_key=f"approve-{release_id}",
        )
    get_run_logger().info("release %s waits for a person: flow run %s, or %s", release_id, run.name, by_hand)
