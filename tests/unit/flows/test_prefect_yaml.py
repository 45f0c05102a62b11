"""prefect.yaml against the flows it deploys."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.support.paths import ROOT

DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in DOCUMENT["deployments"]}
SCHEDULES = [(name, schedule) for name, one in DEPLOYMENTS.items() for schedule in one.get("schedules", [])]


def entrypoint(name: str) -> Any:
    module, _, function = DEPLOYMENTS[name]["entrypoint"].replace(".py:", ".").replace("/", ".").rpartition(".")
    return getattr(importlib.import_module(module), function)


def test_retrain_is_deployed() -> None:
    assert "retrain" in DEPLOYMENTS


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_entrypoint_is_a_flow_and_takes_the_parameters(name: str) -> None:
    from prefect import Flow

    flow = entrypoint(name)
    assert isinstance(flow, Flow)
    # what a person must give when a run is started
    asked = dict.fromkeys(flow.parameters.required, "x")
    flow.validate_parameters(asked | DEPLOYMENTS[name].get("parameters", {}))


# a training waits for its turn; a second mining of the night would find nothing
NEXT = {
    "retrain": "ENQUEUE",
    "retrain-kubernetes": "ENQUEUE",
    "mine-daily": "CANCEL_NEW",
    "evaluate-champion": "CANCEL_NEW",
    "model-age": "CANCEL_NEW",
    "promote": "ENQUEUE",
    "rollback": "ENQUEUE",
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_one_run_at_a_time(name: str) -> None:
    if name == "approve":
        # several releases may wait for their persons; a promotion has the lock
        assert "concurrency_limit" not in DEPLOYMENTS[name]
    else:
        assert DEPLOYMENTS[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": NEXT[name]}


def test_retrain_listens_to_the_event_that_mining_emits() -> None:
    from flows.server.events import EVENT, RESOURCE

    (trigger,) = DEPLOYMENTS["retrain"]["triggers"]
    assert trigger["expect"] == [EVENT]
    assert trigger["match"] == {"prefect.resource.id": RESOURCE}
    assert trigger["parameters"].keys() <= entrypoint("retrain").parameters.properties.keys()
    assert trigger["parameters"] == {"why": "{{ event.payload.why }}"}


def test_mining_runs_every_night() -> None:
    (schedule,) = DEPLOYMENTS["mine-daily"]["schedules"]
    assert schedule["cron"] == "0 2 * * *"
    # every field of the form is spelt out, so that the deployment shows what a run looks at
    form = entrypoint("mine-daily").parameters.properties
    assert form.keys() == DEPLOYMENTS["mine-daily"]["parameters"].keys()


@pytest.mark.parametrize("wrong", [{"fps": 2}, {"frames_per_second": 0}, {"inbox": "maybe"}])
def test_the_form_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError):
        entrypoint("mine-daily").validate_parameters({"sources": wrong})


@pytest.mark.parametrize(("name", "schedule"), SCHEDULES)
def test_schedule_survives_a_deploy(name: str, schedule: dict[str, Any]) -> None:
    """Without an anchor an interval starts anew with each deploy; without a slug a paused schedule becomes active."""
    assert schedule["slug"]
    assert "active" not in schedule
    assert ZoneInfo(schedule["timezone"])
    if "interval" in schedule:
        assert datetime.fromisoformat(schedule["anchor_date"]).tzinfo is not None


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_who_works_in_a_tree_of_its_own(name: str) -> None:
    """What trains or measures runs the deployed code; what changes the live release works on the checkout."""
    from flows.server.parts import POOLS
    from flows.server.setup import CLUSTER_POOL

    pool = DEPLOYMENTS[name]["work_pool"]
    assert pool["name"] in (*POOLS, CLUSTER_POOL)
    own = "flows.worktree.launch" in pool.get("job_variables", {}).get("command", "")
    assert own == (name in ("retrain", "evaluate-champion"))
    # a path would be read in the checkout
    assert own == (":" not in DEPLOYMENTS[name]["entrypoint"])
    assert "streetvision" in DEPLOYMENTS[name]["tags"]
    assert len(DEPLOYMENTS[name]["tags"]) > 1


def test_no_step_needs_network() -> None:
    """The default of Prefect, which records the deploying folder, or the folder of a volume: nothing is fetched."""
    assert not {"pull", "push", "build"} & DOCUMENT.keys()
    assert not {"push", "build"} & {key for one in DEPLOYMENTS.values() for key in one}
    steps = {name for one in DEPLOYMENTS.values() for step in one.get("pull", []) for name in step}
    assert steps == {"prefect.deployments.steps.set_working_directory"}
