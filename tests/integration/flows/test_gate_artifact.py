"""The gate's report in the Prefect UI: one page under one key."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client

from flows.server.gate_artifact import publish_gate
from tasks.release.gate import GateReport
from tasks.release.gate.report import Fault

pytestmark = [pytest.mark.integration, pytest.mark.flow, pytest.mark.usefixtures("prefect_server")]


def test_the_report_is_a_page() -> None:
    fault = Fault(check="slice", text="time night: accuracy 0.5 | below 0.6")
    publish_gate(
        GateReport(
            challenger="a" * 12,
            champion="b" * 12,
            verdict="worse",
            failures=("slice",),
            faults=(fault,),
            passes=False,
            reason="slice: low",
            when="2026-11-27T00:00:00+00:00",
        )
    )
    with get_client(sync_client=True) as client:
        found = next(one for one in client.read_artifacts() if one.description == "slice: low")
    assert found.key == "gate"
    assert "**worse, refused**" in str(found.data)
    # a bar in a sentence is no new cell
    assert "accuracy 0.5 \\| below 0.6 |" in str(found.data)
