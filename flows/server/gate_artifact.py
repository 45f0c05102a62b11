"""The gate's report as a page of the run in the Prefect UI."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from tasks.release.gate import GateReport, read_report, to_markdown
from tasks.release.gate.report import JSON_FILE
from tasks.release.promotion.gating import REPORTS

KEY = "gate"  # one page with all its versions


def publish_gate(report: GateReport) -> None:
    """Publish a report under the key `gate`; plots and pictures are in gate.html, which MLflow has."""
    create_markdown_artifact(markdown=to_markdown(report), key=KEY, description=report.reason)


def publish_gate_of(release_id: str) -> None:
    """Publish the report on a release; a run that ended before its gate has none."""
    folder = REPORTS / release_id
    if (folder / JSON_FILE).is_file():
        publish_gate(read_report(folder))
