"""The report of a drift run as the Prefect UI shows it: the table, and the pictures that moved most."""

from __future__ import annotations

from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from flows.dvc.artifacts import artifact_key, data_uri


def publish_drift(folder: Path, day: str) -> None:
    """Publish the report of a date, where there is one.

    Args:
        folder: of the release, below `tasks.monitoring.drift.STATE`.
        day: ISO date.
    """
    page, sheet = folder / f"{day}.md", folder / f"{day}.jpg"
    if page.is_file() and sheet.is_file():
        text = f"{page.read_text(encoding='utf-8')}\n![pictures that moved most]({data_uri(sheet)})\n"
        create_markdown_artifact(markdown=text, key=artifact_key("mine-daily", "drift"))
