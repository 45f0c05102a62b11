"""Go back to the release that was live before. By hand: `streetvision rollback [RELEASE] --why TEXT`."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.server.recorded import RECORDED
from tasks.config import load_params
from tasks.release.promotion.doors import Request, door, rollback_release


@flow(name="rollback", **RECORDED)
def rollback(why: str, release_id: str | None = None, who: str | None = None) -> None:
    """Put a release that was live before into its place again; without the gate, by the switch alone where it is warm.

    Args:
        why: the reason, for the ledger.
        release_id: the one to go back to, by default the one that the live release replaced.
        who: the user who asks, by default who runs this.

    Raises:
        RollbackError: there is nothing to go back to.
        LockedError, ReleaseError, ServiceError, FrontError, WatchError: the live release goes on.
    """
    params, say = load_params(), get_run_logger().info
    with door(params, "rollback", say, strict=False) as front:
        service = rollback_release(params, front, release_id, Request(why, who, run=flow_run.id), say)
    get_run_logger().info("release %s is live and answers at %s", service.release, service.url)
