"""Ask a person about a release: the gate's report, a form in the Prefect UI, then the promotion.

A flow of its own, so that the retrain that made the release ends and holds nothing while the form is open.
"""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field

from cascade.release.store import load_release
from flows.promote import promote
from flows.server.gate_artifact import publish_gate_of
from tasks.config import Params, load_params
from tasks.release.collect import RELEASES
from tasks.release.gate import GateReport
from tasks.release.promotion.doors import live_release
from tasks.release.promotion.gating import preview_gate

POLL_SECONDS = 5


class Decision(RunInput):
    """The form."""

    promote: bool = Field(default=False, description="Put the release into the place of the champion.")
    who: str = Field(min_length=1, description="Your name, for the ledger.")
    why: str = Field(min_length=1, description="The reason, for the ledger.")
    override: str | None = Field(
        default=None, description="Why it may go live although the gate's comparison is inconclusive."
    )


@flow(name="approve", flow_run_name="approve-{release_id}")
def approve(release_id: str) -> None:
    """Show what the gate says of a release, wait for a person's decision, and promote the release or leave it.

    Args:
        release_id: below models/releases; registered in MLflow.

    Raises:
        GateError: the gate refuses the release, so that there is nothing to decide.
        FlowPauseTimeout: nobody decided within `promotion.approval.hours`.
        ReleaseError: the release is altered or incomplete.
    """
    params = load_params()
    report = show(params, release_id)
    decision = pause_flow_run(
        wait_for_input=Decision.with_initial_data(description=question(report)),
        timeout=round(3600 * params.promotion.approval.hours),
        poll_interval=POLL_SECONDS,
    )
    if not decision.promote:
        get_run_logger().info("%s leaves release %s as it is: %s", decision.who, release_id, decision.why)
        return
    # the gate is asked once more: the champion may be another one by now
    promote(release_id, decision.why, who=decision.who, override=decision.override)


@task(task_run_name="show the release", cache_policy=NO_CACHE, persist_result=False)
def show(params: Params, release_id: str) -> GateReport:
    """Ask the gate, and publish its report as the artifact `gate`."""
    release = load_release(RELEASES / release_id)
    try:
        return preview_gate(params, release, live_release(get_run_logger().info))
    finally:
        publish_gate_of(release_id)


def question(report: GateReport) -> str:
    """What the form says above its fields, in Markdown."""
    against = f" in the place of `{report.champion}`" if report.champion else ""
    need = " It goes live only with a reason in `override`." if report.verdict == "inconclusive" else ""
    said = f"The gate: {report.reason}; its report is the artifact `gate`."
    return f"Promote release `{report.challenger}`{against}? {said}{need}"
