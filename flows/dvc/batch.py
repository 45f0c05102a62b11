"""A mined batch as DVC and the Prefect UI see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cascade.process.supervisor import run
from flows.dvc.artifacts import artifact_key, data_uri, flatten
from flows.dvc.errors import PipelineError
from flows.dvc.graph import dvc_command, stage_environment
from flows.dvc.locks import wait_for_lock
from flows.dvc.without_git import set_no_scm
from tasks.data.readers import Rejected
from tasks.monitoring.figures import MonitoredFigure

SHEET = "sheet.jpg"
PREFIX = "mine-daily"
# an artifact is a database row; the batch itself has all of them
ROWS = 200


def track(batch: Path, root: Path | None = None) -> None:
    """Put a batch under DVC: its content into the cache, its digest into `<batch>.dvc`, which git keeps.

    Raises:
        PipelineError: DVC refuses; the message is its own.
    """

    def attempt() -> tuple[int, str]:
        done = run(dvc_command("add", "--quiet", str(batch)), cwd=root, env=stage_environment())
        return done.returncode, done.stdout.strip()

    set_no_scm(root or Path.cwd())
    code, output = wait_for_lock(root or Path.cwd(), attempt, get_run_logger().info)
    if code != 0:
        raise PipelineError(f"dvc add {batch} failed: {output}")


def publish_batch(batch: Path, manifest: dict[str, Any]) -> None:
    """Counts, a table of the pictures, and the contact sheet."""
    table = [{"figure": name, "value": value} for name, value in flatten(manifest.get("counts", {})).items()]
    create_table_artifact(table=table, key=artifact_key(PREFIX, "counts"), description=str(batch))
    if doubtful := manifest.get("doubtful_labels"):
        create_table_artifact(
            table=doubtful, key=artifact_key(PREFIX, "doubtful"), description="labels that look wrong"
        )
    if pictures := _pictures(manifest["pictures"]):
        shown = f"{batch}: {min(len(pictures), ROWS)} of {len(pictures)} pictures"
        create_table_artifact(table=pictures[:ROWS], key=artifact_key(PREFIX, "pictures"), description=shown)
    if (batch / SHEET).is_file():
        text = f"# {batch.name}\n\n![contact sheet]({data_uri(batch / SHEET)})\n\nFile: `{batch / SHEET}`\n\n"
        text += f"Review it with `streetvision review {batch.name}`.\n"
        create_markdown_artifact(markdown=text, key=artifact_key(PREFIX, "sheet"))


def publish_rejected(rejected: Sequence[Rejected]) -> None:
    """What could not be used and why, where there is any."""
    if rejected:
        table = [asdict(one) for one in rejected[:ROWS]]
        shown = f"{len(rejected)} pictures or clips could not be used"
        create_table_artifact(table=table, key=artifact_key(PREFIX, "quarantine"), description=shown)


def publish_figures(figures: Sequence[MonitoredFigure]) -> None:
    """The figures that may request a retrain, with their limits."""
    table = [asdict(figure) for figure in figures]
    create_table_artifact(table=table, key=artifact_key(PREFIX, "signals"), description="what may request a retrain")


def _pictures(pictures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The manifest's entries as rows, best first."""
    rows = [{"sha256": digest, **flatten(facts)} for digest, facts in pictures.items()]
    return sorted(rows, key=lambda row: row.get("rank", 0))
