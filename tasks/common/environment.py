"""The environment of a run: our settings win over those of the user's own tools, and loopback is never proxied.

A run starts its own Prefect server and its own MLflow store on this machine. A Cloud profile of the user, or an address
that was left in the shell, must not receive runs and data of this project unless it is named in a setting of ours.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# where runs are shown instead of a server of their own, and its key
SERVER, SERVER_KEY = "STREETVISION_PREFECT_API_URL", "STREETVISION_PREFECT_API_KEY"
# what the user's own Prefect and MLflow are told by their environment
FOREIGN = (
    *("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
)
# Prefect's worker sets it for the run that it starts, whose PREFECT_API_URL is the worker's own server
BY_WORKER = "PREFECT__FLOW_RUN_ID"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Settle the environment of this process and its children; call it before Prefect or MLflow is imported."""
    exempt_loopback(environ)
    if BY_WORKER in environ:
        return
    for name in FOREIGN:
        environ.pop(name, None)
    for ours, theirs in ((SERVER, "PREFECT_API_URL"), (SERVER_KEY, "PREFECT_API_KEY")):
        if environ.get(ours):
            environ[theirs] = environ[ours]


def exempt_loopback(environ: MutableMapping[str, str] = os.environ) -> None:
    """Add this machine to the hosts that are reached without a proxy; what the user lists stays."""
    listed = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in environ.get(name, "").split(",")]
    hosts = ",".join(dict.fromkeys([*filter(None, listed), *LOOPBACK]))
    # libraries read one or the other
    environ["no_proxy"] = environ["NO_PROXY"] = hosts
