"""Make a release champion and serve it. By hand: `streetvision promote RELEASE --why TEXT`."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from cascade.release.store import load_release
from flows.server.gate_artifact import publish_gate_of
from flows.server.recorded import RECORDED
from tasks.config import load_params
from tasks.release.collect import RELEASES
from tasks.release.promotion.doors import Request, door, promote_release


@flow(name="promote", flow_run_name="promote-{release_id}", **RECORDED)
def promote(release_id: str, why: str, who: str | None = None, override: str | None = None) -> None:
    """Ask the gate, then make a release champion, serve it, move the alias and write the ledger.

    Args:
        release_id: below models/releases; registered in MLflow.
        why: the reason, for the ledger.
        who: the user who asks, by default who runs this.
        override: a person's reason to promote although the gate's comparison is inconclusive.

    Raises:
        GateError: the gate refuses the release.
        ReleaseError: the release is altered or incomplete.
        LockedError, RegisterError, ServiceError, FrontError, WatchError: the old release goes on.
    """
    params, say = load_params(), get_run_logger().info
    request = Request(why, who, run=flow_run.id, override=override)
    with door(params, f"promotion of {release_id}", say) as front:
        release = load_release(RELEASES / release_id)
        try:
            service = promote_release(params, front, release, request, say)
        finally:
            publish_gate_of(release_id)
    get_run_logger().info("release %s is champion and answers at %s", release_id, service.url)
