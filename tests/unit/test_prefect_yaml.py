"""prefect.yaml against the flows it deploys."""

from __future__ import annotations

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: dict[str, dict[str, Any]] = {one["name"]: one for one in DOCUMENT["deployments"]}
SCHEDULES = [(name, schedule) for name, one in DEPLOYMENTS.items() for schedule in one.get("schedules", [])]


def entrypoint(name: str) -> Any:
    file, _, function = DEPLOYMENTS[name]["entrypoint"].partition(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), function)


def test_retrain_is_deployed() -> None:
    assert "retrain" in DEPLOYMENTS


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_entrypoint_is_a_flow_and_takes_the_parameters(name: str) -> None:
    from prefect import Flow

    flow = entrypoint(name)
    assert isinstance(flow, Flow)
    flow.validate_parameters(DEPLOYMENTS[name].get("parameters", {}))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_one_run_at_a_time_and_the_next_one_waits(name: str) -> None:
    assert DEPLOYMENTS[name]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


@pytest.mark.parametrize(("name", "schedule"), SCHEDULES)
def test_schedule_survives_a_deploy(name: str, schedule: dict[str, Any]) -> None:
    """Without an anchor an interval starts anew with each deploy; without a slug a paused schedule becomes active."""
    assert schedule["slug"]
    assert ZoneInfo(schedule["timezone"])
    if "interval" in schedule:
        assert datetime.fromisoformat(schedule["anchor_date"]).tzinfo is not None


def test_no_step_needs_network() -> None:
    """The default of Prefect, which records the deploying folder, is the only pull step."""
    assert not {"pull", "push", "build"} & (DOCUMENT.keys() | {key for one in DEPLOYMENTS.values() for key in one})
