"""How good the live release is by the present code and challenge set: a file for monitoring, a run in MLflow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from cascade.release.store import Release, read_classifier
from tasks.common.files import write_json
from tasks.common.git import code_revision
from tasks.config import Params
from tasks.release.runs import RELEASE_TAG, log_numbers
from tasks.release.tracking import connect, prepare, readable_errors

FILE = Path("var/monitoring/champion.json")
FIGURES = ("mcc", "mcc_low", "accuracy", "reward", "auc", "ece", "n", "floors_met")


def evaluate(params: Params, release: Release, pulled: Path) -> dict[str, Any]:
    """Measure the first stage of a release on the challenge set, as the step `validate` does; nothing is reused.

    Args:
        params: all of params.yaml.
        release: verified.
        pulled: data folder with the challenge set.

    Raises:
        DataError: the challenge set is missing or lacks a class.
        cascade.engines.base.EngineError: the engine cannot be run.
    """
    from tasks.validation.metrics import measure
    from tasks.validation.predictions import predict_challenge

    predictions = predict_challenge(params.validate_, release.folder, pulled)
    exits = read_classifier(release.folder).exits.model_dump()
    return measure(predictions, params.validate_, exits, prior=params.prior)


def headline(metrics: dict[str, Any]) -> dict[str, float]:
    """The few figures that monitoring shows, as numbers."""
    return {name: float(metrics[name]) for name in FIGURES if isinstance(metrics.get(name), int | float)}


def write_figures(
    release: Release, figures: dict[str, float], when: datetime, code: Path = Path(), file: Path = FILE
) -> dict[str, Any]:
    """Write the figures for monitoring, beside those of the release's own manifest; gives what was written.

    Args:
        release: that was evaluated.
        figures: see `headline`.
        when: they were measured; seconds since 1970 go into the file, as Prometheus wants them.
        code: folder of the code that measured them.
        file: is replaced.
    """
    gate = release.manifest.gate
    document = {
        "release": release.id,
        "timestamp_seconds": when.timestamp(),
        "code": code_revision(code),
        "figures": figures,
        "at_release": {name: float(gate[name]) for name in figures if isinstance(gate.get(name), int | float)},
    }
    write_json(file, document)
    return document


def log_figures(params: Params, document: dict[str, Any], flow_run_id: str, day: str) -> str:
    """Record the figures as a run of MLflow, and give its id.

    Raises:
        RegisterError: MLflow's store cannot be used.
    """
    experiment = prepare(params)
    with readable_errors(params):
        client = connect(params)
        tags = {
            RELEASE_TAG: document["release"],
            "prefect.flow_run_id": flow_run_id,
            "git.commit": document["code"],
            "streetvision.kind": "evaluate-champion",
        }
        run_id: str = client.create_run(
            experiment, run_name=f"evaluate {document['release']} {day}", tags=tags
        ).info.run_id
        log_numbers(client, run_id, document["figures"])
        client.set_terminated(run_id)
    return run_id
