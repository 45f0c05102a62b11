"""Nothing calls home: the switches that turn off usage reports of the libraries, in the one place that knows them."""

from __future__ import annotations

import os

# DO_NOT_TRACK is honoured by Prefect, MLflow and huggingface_hub; MLflow takes only the word "true".
SWITCHES = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "FIFTYONE_DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "YOLO_OFFLINE": "true",
    "DVC_NO_ANALYTICS": "1",
    # NNCF has no switch of its own; on a CI machine it reports nothing
    "NNCF_CI": "1",
}


def switch_off() -> None:
    """Turn usage reports off for this process and its children; a value that the user has set stays."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
