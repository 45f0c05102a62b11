"""Every week: the live release on the challenge set, by the present code. `python -m flows.evaluate_champion`.

A run of the deployment works in a tree of its own (flows/worktree), whose challenge set comes from DVC's cache.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from cascade.engines.base import EngineError
from cascade.release.store import RELEASES, Release, ReleaseError, champion
from flows.dvc.errors import PipelineError
from flows.dvc.limits import make_limits_by_hand, slot
from flows.server.io import mlflow_task
from flows.server.names import run_name, scheduled_day
from flows.worktree.results import check_out
from flows.worktree.tree import own_tree
from tasks.config import PARAMS_FILE, ConfigError, Params, load_params
from tasks.data.pull import PULLED
from tasks.data.schema import DataError
from tasks.monitoring import champion as monitored
from tasks.release.tracking import RegisterError

KEY = "champion"  # one page with all its versions


class NoChampionError(RuntimeError):
    """No release is live."""


@flow(name="evaluate-champion", flow_run_name=run_name)
def evaluate_champion() -> None:
    """Measure the live release, record the figures in MLflow and in a file for monitoring.

    Raises:
        NoChampionError: no release is live.
        ReleaseError: the live release is altered or incomplete.
        DataError: the challenge set is missing.
        EngineError: the release cannot be run by the present code.
    """
    tree = own_tree()
    root = tree.root if tree else Path()
    make_limits_by_hand()
    if tree:
        # nothing in it is worth keeping, however the run ends
        tree.done.touch()
        check_out(tree, get_run_logger().info, str(PULLED))
    params = load_params(root / PARAMS_FILE)
    release = champion(RELEASES)
    if release is None:
        raise NoChampionError("no release is live; `make run` promotes one")
    with slot("gpu"):
        figures = measure(params, release, root)
    document = monitored.write_figures(release, figures, datetime.now(UTC), root)
    publish(document)
    log(params, document)


@task(task_run_name="measure the champion", cache_policy=NO_CACHE, persist_result=False)
def measure(params: Params, release: Release, root: Path) -> dict[str, float]:
    """The headline figures of the release."""
    return monitored.headline(monitored.evaluate(params, release, root / PULLED))


@mlflow_task("log to MLflow")
def log(params: Params, document: dict[str, Any]) -> None:
    """Record the figures in MLflow."""
    run_id = monitored.log_figures(params, document, flow_run.id or "local", scheduled_day().isoformat())
    get_run_logger().info("recorded as MLflow run %s", run_id)


def publish(document: dict[str, Any]) -> None:
    """The figures as a table, beside those that the release was promoted with."""
    before = document["at_release"]
    rows = [
        {"figure": name, "now": now, "at its release": before.get(name)} for name, now in document["figures"].items()
    ]
    create_table_artifact(table=rows, key=KEY, description=f"release {document['release']} by {document['code']}")


def main() -> None:
    """Evaluate in place."""
    try:
        evaluate_champion()
    except (ConfigError, DataError, EngineError, NoChampionError, PipelineError, RegisterError, ReleaseError) as error:
        sys.exit(f"error: {error}")
    print(f"figures: {monitored.FILE}")


if __name__ == "__main__":
    main()
