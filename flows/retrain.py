"""The whole loop: stale stages, release, registry, gate, promotion, three answers. `python -m flows.retrain`.

Without STREETVISION_PREFECT_API_URL the run brings a server of its own, which takes about 20 seconds to start. So the
run checks first whether anything is left to do: one `dvc status`, the champion's digests, three answers of the service.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from cascade.api.process import ServiceState, status
from cascade.release.store import Release, ReleaseError, champion
from flows.dvc.errors import PipelineError
from flows.dvc.graph import read_pipeline, stale_stages
from flows.dvc.reading import reading
from flows.dvc.remote import default_remote, push_outputs
from flows.dvc.stage import run_stages
from flows.server.approval import request_approval
from flows.server.gate_artifact import publish_gate_of
from flows.server.summary import print_summary
from tasks.config import Params, load_params
from tasks.release.collect import RELEASES, SOURCES, CollectError, assemble
from tasks.release.promotion import doors
from tasks.release.promotion.doors import Request, door, is_recorded
from tasks.release.promotion.errors import PROMOTION_ERRORS
from tasks.release.registry import RegisteredModel, register
from tasks.release.smoke_test import SmokeResult, SmokeTestError, golden_images, smoke_test
from tasks.release.tracking import RegisterError, prepare

# of bad input or of a service that does not answer: one line, no traceback
ERRORS = (*PROMOTION_ERRORS, CollectError, PipelineError)


@dataclass(frozen=True)
class RetrainResult:
    """What answers after a run."""

    release: Release
    service: ServiceState
    replies: list[SmokeResult]


@flow(name="retrain")
def retrain(why: str = "retrain", promote_release: bool = True) -> None:
    """Bring every stage up to date, build and register the release, and promote it when the gate passes.

    With `promotion.approval.required` a person is asked instead, and the live release stays until then. Where DVC has a
    default remote, the outputs are pushed to it.

    Args:
        why: goes into the promotion ledger.
        promote_release: off leaves the release registered as challenger.
    """
    params = load_params()
    # before the stages, which take hours: what they make could not be recorded
    prepare(params.register_)
    pipeline = read_pipeline(Path.cwd())
    stale = stale_stages(pipeline)
    get_run_logger().info("stale stages: %s", ", ".join(name for name in pipeline.stages if name in stale) or "none")
    run_stages(pipeline, stale)
    say = get_run_logger().info
    # two runs on one folder, as `make run` beside the worker, take turns from the release on; DVC guards the stages
    with door(params, "retrain", say) as front:
        release = build()
        record(params, release, flow_run.id or "local")
        if promote_release and params.promotion.approval.required:
            request_approval(release.id)
        elif promote_release:
            # verified as it was built; its files are not read again
            try:
                doors.promote_release(params, front, release, Request(why, run=flow_run.id, scheduled=True), say)
            finally:
                publish_gate_of(release.id)
            answer()
    if remote := default_remote(Path.cwd()):
        push_outputs(Path.cwd(), remote)


@task(cache_policy=NO_CACHE, persist_result=False)
def build() -> Release:
    """Assemble the immutable release of what the stages left, while no other run writes it."""
    with reading(Path.cwd(), SOURCES, get_run_logger().info):
        return assemble()


@task(cache_policy=NO_CACHE, persist_result=False)
def record(params: Params, release: Release, flow_run_id: str) -> RegisteredModel:
    """Record the release in MLflow, once."""
    return register(params, release, flow_run_id)


@task(cache_policy=NO_CACHE, persist_result=False)
def answer() -> list[SmokeResult]:
    """Ask the service about three challenge pictures.

    Raises:
        SmokeTestError: the service is gone or answers for another release.
    """
    return standing(load_params()).replies


def standing(params: Params) -> RetrainResult:
    """The champion and its service, as they answer now.

    Raises:
        SmokeTestError: there is no champion, or no service that answers for it.
    """
    release, service = champion(RELEASES), status()
    if release is None or service is None or service.release != release.id:
        raise SmokeTestError("no service answers for the champion; `make run` starts it")
    replies = smoke_test(service.url, golden_images())
    if any(reply.release != release.id for reply in replies):
        raise SmokeTestError(f"{service.url} answers for another release than the champion {release.id}")
    return RetrainResult(release, service, replies)


def nothing_to_do(params: Params) -> RetrainResult | None:
    """What stands when all stages are up to date and their very release is champion, recorded and answering."""
    if stale_stages(read_pipeline(Path.cwd())):
        return None
    try:
        outcome = standing(params)
        current = assemble().id
    except (SmokeTestError, ReleaseError, CollectError, RegisterError):
        return None
    return outcome if is_recorded(outcome.release.id, current) else None


def main() -> None:
    """Run the loop where something is left to do, and print what stands."""
    try:
        params = load_params()
        outcome = nothing_to_do(params)
        if outcome is None:
            # here as well, where the error is one line and Prefect's server is not started for it
            prepare(params.register_)
            retrain(why="make run")
            if params.promotion.approval.required and champion(RELEASES) is None:
                sys.exit("no release is live yet: the first one waits for a person's decision")
            outcome = standing(params)
    except ERRORS as error:
        sys.exit(f"error: {error}")
    print_summary(outcome.release, outcome.service.url, outcome.replies)


if __name__ == "__main__":
    main()
