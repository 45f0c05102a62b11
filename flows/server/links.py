"""Where a run's results are, as a page of the run: MLflow, the release, the gate's report, the branch."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact

from cascade.release.store import RELEASES
from flows.server.parts import HOST, mlflow_port
from tasks.config import Params
from tasks.release.gate.report import PAGE_FILE
from tasks.release.promotion.gating import REPORTS
from tasks.release.registry import RegisteredModel

KEY = "links"  # one page with all its versions


def mlflow_address(params: Params) -> str:
    """The address of MLflow's page: the tracking server, or that of `make ui` where the store is a database."""
    uri = params.stores.mlflow
    return uri.rstrip("/") if uri.startswith("http") else f"http://{HOST}:{mlflow_port()}"


def publish_links(params: Params, model: RegisteredModel, experiment: str) -> None:
    """Publish the page under the key `links`.

    Args:
        params: all sections.
        model: of the release.
        experiment: id of MLflow's experiment.
    """
    base, release = mlflow_address(params), model.release_id
    rows = {
        "MLflow: run": f"[{model.run_id}]({base}/#/experiments/{experiment}/runs/{model.run_id})",
        "MLflow: version": f"[{model.name} {model.version}]({base}/#/models/{model.name}/versions/{model.version})",
        "release": f"`{RELEASES / release}`",
        "gate": f"`{REPORTS / release / PAGE_FILE}`, artifact `gate` of the run",
        "FiftyOne": "`streetvision review` opens the batches",
    }
    lines = ["| what | where |", "|---|---|", *(f"| {what} | {where} |" for what, where in rows.items())]
    create_markdown_artifact(markdown="\n".join(lines), key=KEY, description=f"release {release}")
