"""The whole loop: stale stages, release, registry, gate, promotion, three answers. `python -m flows.retrain`.

By hand it works in place. A run of the deployment works in a tree of its own (flows/worktree): stages, parameters and
test data are those of the tree; releases, ledger, MLflow and the service are those of the checkout, the current folder.

Without STREETVISION_PREFECT_API_URL the run brings a server of its own, which takes about 20 seconds to start. So the
run checks first whether anything is left to do: one `dvc status`, the champion's digests, three answers of the service.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from cascade.api.process import ServiceState, status
from cascade.release.store import Release, ReleaseError, champion
from flows.dvc.errors import PipelineError
from flows.dvc.graph import read_pipeline, stale_stages
from flows.dvc.limits import make_limits_by_hand, slot
from flows.dvc.origin import STAGE_RUNS
from flows.dvc.reading import reading
from flows.dvc.remote import default_remote, push_outputs
from flows.dvc.stage import run_stages
from flows.server.approval import request_approval
from flows.server.gate_artifact import publish_gate_of
from flows.server.io import mlflow_task
from flows.server.links import publish_links
from flows.server.names import run_name, scheduled_day
from flows.server.recorded import RECORDED
from flows.server.start import server_starting
from flows.server.summary import print_summary
from flows.worktree.branch import commit
from flows.worktree.results import check_out, unseen
from flows.worktree.slots import keep_stamps
from flows.worktree.tree import IN_PLACE, RunTree, own_tree
from tasks.config import PARAMS_FILE, Params, load_params
from tasks.release.collect import RELEASES, SOURCES, CollectError, assemble
from tasks.release.promotion import doors
from tasks.release.promotion.doors import Request, door, is_recorded
from tasks.release.promotion.errors import PROMOTION_ERRORS
from tasks.release.registry import RegisteredModel, register
from tasks.release.smoke_test import CHALLENGE, SmokeResult, SmokeTestError, golden_images, smoke_test
from tasks.release.tracking import RegisterError, prepare
from tasks.stores.databases import check_prefect
from tasks.stores.errors import StoreError
from tasks.tools.clean import clean_up

# of bad input or of a service that does not answer: one line, no traceback
ERRORS = (*PROMOTION_ERRORS, CollectError, PipelineError, StoreError)


@dataclass(frozen=True)
class RetrainResult:
    """What answers after a run."""

    release: Release
    service: ServiceState
    replies: list[SmokeResult]


@flow(name="retrain", flow_run_name=run_name, **RECORDED)
def retrain(why: str = "retrain", promote_release: bool = True) -> None:
    """Bring every stage up to date, build and register the release, and promote it when the gate passes.

    With `promotion.approval.required` a person is asked instead, and the live release stays until then. Where DVC has a
    default remote, the outputs are pushed to it.

    Args:
        why: goes into the promotion ledger.
        promote_release: off leaves the release registered as challenger.
    """
    tree, say = own_tree(), get_run_logger().info
    make_limits_by_hand()
    root = tree.root if tree else Path.cwd()
    params = load_params(root / PARAMS_FILE)
    # before the stages, which take hours: what they make could not be recorded
    prepare(params)
    furnish(tree)
    pipeline = read_pipeline(root)
    stale = stale_stages(pipeline)
    say("stale stages: %s", ", ".join(name for name in pipeline.stages if name in stale) or "none")
    # a run in place shares the checkout's DVC repository with the nightly mining
    with nullcontext() if tree or not stale else slot("dvc"):
        run_stages(pipeline, stale, params.orchestration, STAGE_RUNS)
    keep_results(tree)
    # two runs on one folder, as `make run` beside the worker, take turns from the release on; DVC guards the stages
    with door(params, "retrain", say) as front:
        release = build(root)
        record(params, release, flow_run.id or "local", root)
        if promote_release and params.promotion.approval.required:
            request_approval(release.id)
        elif promote_release:
            # verified as it was built; its files are not read again
            request = Request(why, run=flow_run.id, scheduled=True, tree=root)
            try:
                doors.promote_release(params, front, release, request, say)
            finally:
                publish_gate_of(release.id)
            answer(root)
    if remote := default_remote(root, params.stores.s3):
        push_outputs(root, remote, params.stores.s3)
    # a tree whose outputs could not be pushed is kept
    finish(tree)
    if params.retention.after_retrain:
        clean_up(params, say)


def furnish(tree: RunTree | None) -> None:
    """Fill the tree from DVC's cache, and say what the run works on."""
    say = get_run_logger().info
    if tree is None:
        if why := os.environ.get(IN_PLACE):
            get_run_logger().warning("works in place, on whatever lies there: %s", why)
        return
    say("works in %s, at the deployed commit %s", tree.folder, tree.revision)
    if tree.resumed:
        say("an earlier run left the tree: what is done in it is not done again")
    for line in unseen(tree):
        get_run_logger().warning("%s", line)
    check_out(tree, say)


def keep_results(tree: RunTree | None) -> None:
    """Commit what the stages wrote, so that the release names a commit that has it."""
    day = scheduled_day().isoformat()
    message = f"Retrain of {day}\n\nRun `{flow_run.name}` ({flow_run.id}) on {tree.revision if tree else ''}."
    if tree and (branch := commit(tree, day, message)):
        get_run_logger().info("results are committed on branch %s; merge it to keep them", branch)


def finish(tree: RunTree | None) -> None:
    """Keep what the promotion wrote as well; the tree is needed no more."""
    keep_results(tree)
    if tree:
        keep_stamps(tree)
        tree.done.touch()


@task(task_run_name="build release", cache_policy=NO_CACHE, persist_result=False)
def build(root: Path) -> Release:
    """Assemble the immutable release of what the stages left, while no other run writes it."""
    with reading(root, SOURCES, get_run_logger().info):
        return assemble(root, RELEASES)


# what is recorded already is found again
@mlflow_task("record in MLflow")
def record(params: Params, release: Release, flow_run_id: str, root: Path) -> RegisteredModel:
    """Record the release in MLflow, once, and publish where it is."""
    links = {"prefect.url": flow_run.ui_url} if flow_run.ui_url else {}
    model = register(params, release, flow_run_id, tree=root, links=links)
    publish_links(params, model, prepare(params))
    return model


@task(task_run_name="answer pictures", cache_policy=NO_CACHE, persist_result=False)
def answer(root: Path) -> list[SmokeResult]:
    """Ask the service about three challenge pictures.

    Raises:
        SmokeTestError: the service is gone or answers for another release.
    """
    return standing(root).replies


def standing(root: Path = Path()) -> RetrainResult:
    """The champion and its service, as they answer now; the pictures are those of `root`.

    Raises:
        SmokeTestError: there is no champion, or no service that answers for it.
    """
    release, service = champion(RELEASES), status()
    if release is None or service is None or service.release != release.id:
        raise SmokeTestError("no service answers for the champion; `make run` starts it")
    replies = smoke_test(service.url, golden_images(root / CHALLENGE))
    if any(reply.release != release.id for reply in replies):
        raise SmokeTestError(f"{service.url} answers for another release than the champion {release.id}")
    return RetrainResult(release, service, replies)


def nothing_to_do() -> RetrainResult | None:
    """What stands when all stages are up to date and their very release is champion, recorded and answering."""
    try:
        # without a champion something is left to do, whatever the stages say; to ask them takes seconds
        if champion(RELEASES, digests=False) is None or stale_stages(read_pipeline(Path.cwd())):
            return None
        outcome = standing()
        current = assemble().id
    except (SmokeTestError, ReleaseError, CollectError, RegisterError):
        return None
    return outcome if is_recorded(outcome.release.id, current) else None


def main() -> None:
    """Run the loop where something is left to do, and print what stands."""
    try:
        params = load_params()
        outcome = nothing_to_do()
        if outcome is None:
            check_prefect(params.stores)
            with server_starting():
                # here as well, where the error is one line
                prepare(params)
            retrain(why="make run")
            if params.promotion.approval.required and champion(RELEASES) is None:
                sys.exit("no release is live yet: the first one waits for a person's decision")
            outcome = standing()
    except ERRORS as error:
        sys.exit(f"error: {error}")
    print_summary(outcome.release, outcome.service.url, outcome.replies)


if __name__ == "__main__":
    main()
