"""MLflow's server over a Postgres: `python -m flows.server.mlflow PORT` becomes it, its password in the environment."""

from __future__ import annotations

import os
import sys

from flows.server.parts import WITHOUT_JOBS, mlflow_command
from tasks.config import load_params
from tasks.release.tracking import connect


def main() -> None:
    """Take the address of the store from `stores.mlflow` and the environment, and become the server."""
    params = load_params()
    # names the object store to the server as well
    uri = connect(params).tracking_uri
    command = mlflow_command(params, int(sys.argv[1]))
    environment = {**os.environ, **dict([WITHOUT_JOBS]), "MLFLOW_BACKEND_STORE_URI": uri}
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
