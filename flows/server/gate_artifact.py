"""The gate's report as a page of the run in the Prefect UI."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from tasks.release.gate import GateReport, to_markdown

KEY = "gate"  # one page with all its versions


def publish_gate(report: GateReport) -> None:
    """Publish a report under the key `gate`; plots and pictures are in gate.html, which MLflow has."""
    create_markdown_artifact(markdown=to_markdown(report), key=KEY, description=report.reason)
