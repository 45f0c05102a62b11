"""Step `probe`: a head trained in seconds, which says what the pipeline finds hard before the real head exists.

`python -m tasks.probe` trains on a few views of the training split and writes models/probe, in the form of models/head.
Synthesis asks it whether a picture contradicts its label, mining which pictures are uncertain. That the head of the
release is another one, trained on their harvest as well, keeps the stage graph free of circles.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.classifier.train import train_to_files
from tasks.common.step import step_main
from tasks.data.feature_store import FEATURES

if TYPE_CHECKING:
    from tasks.config import TrainParams

PROBE, REPORTS = Path("models/probe"), Path("reports/probe")


def probe(
    params: TrainParams,
    features: Path = FEATURES,
    folder: Path = PROBE,
    reports: Path = REPORTS,
    *,
    prior: float | None,
) -> dict[str, Any]:
    """Train the probe: fewer views and epochs than `tasks.train`, and nothing of synthesis or mining.

    Args:
        params: section `train`.
        features: of the pulled splits.
        folder: where the probe goes.
        reports: where metrics and plots go.
        prior: see `tasks.train.train`.

    Returns:
        The metrics.

    Raises:
        DataError: see `tasks.classifier.train.train_to_files`.
    """
    # the probe ranks pictures, so one view is enough
    short = params.model_copy(update={"epochs": params.probe_epochs, "average": 1, "tta_band": None})
    return train_to_files(short, features, folder, reports, prior=prior, views=params.probe_views)


main = step_main("probe", lambda params, _: probe(params.train, prior=params.prior), __doc__)

if __name__ == "__main__":
    sys.exit(main())
