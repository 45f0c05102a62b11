"""Step `validate`: the exported engine on the challenge set at all four levels; torch is never run.

`python -m tasks.validate` reads models/classifier and data/pulled and writes reports/validate. It refuses no
classifier: it records whether the floors of section `validate` are met, and the flow decides.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tasks.common.files import read_json
from tasks.common.metrics import write_metrics
from tasks.common.plots import draw_all
from tasks.common.step import step_main
from tasks.config import Params, ValidateParams
from tasks.validation.metrics import measure
from tasks.validation.page import PAGE, beside, champion_figures, write_page
from tasks.validation.predictions import predict_challenge

CLASSIFIER, PULLED, REPORTS = Path("models/classifier"), Path("data/pulled"), Path("reports/validate")
HEADLINE = ("mcc", "mcc_low", "accuracy", "reward", "floors_met")
SHOWN = ("mcc", "accuracy", "reward", "auc", "ece", "prior", "floors_met")


def validate(
    params: ValidateParams,
    classifier: Path = CLASSIFIER,
    pulled: Path = PULLED,
    reports: Path = REPORTS,
    *,
    prior: float | None,
) -> dict[str, Any]:
    """Measure the classifier; write metrics.json, plots and a table beside the constant answer and the champion.

    Args:
        params: section `validate`.
        classifier: folder of the exported engine.
        pulled: data.
        reports: where metrics and plots go.
        prior: share of roadwork that all figures are for; None for the data's own.

    Returns:
        The metrics; see `tasks.validation.metrics.measure`.

    Raises:
        DataError: the challenge set is missing or lacks a class.
        cascade.engines.base.EngineError: the classifier cannot be loaded.
    """
    predictions = predict_challenge(params, classifier, pulled)
    metrics = measure(predictions, params, read_json(classifier / "classifier.json")["exits"], prior=prior)
    draw_all(predictions.label, predictions.p, reports / "plots", "challenge set, all levels", prior=prior)
    write_metrics(reports / "metrics.json", metrics, HEADLINE)
    write_page(reports / PAGE, metrics, champion_figures())
    return metrics


def _run(params: Params, options: argparse.Namespace) -> dict[str, Any]:
    metrics = validate(params.validate_, prior=params.prior)
    return {name: metrics[name] for name in SHOWN} | beside(metrics, champion_figures())


main = step_main("validate", _run, __doc__)

if __name__ == "__main__":
    sys.exit(main())
