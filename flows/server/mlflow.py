"""MLflow's server over a Postgres: `python -m flows.server.mlflow PORT` becomes it, its password in the environment."""

from __future__ import annotations

import os
import sys

from flows.server.parts import WITHOUT_JOBS, mlflow_command
from tasks.config import Params, load_params
from tasks.release.tracking import connect


def main() -> None:
    """Become the server, on this machine alone."""
    params = load_params()
    command = mlflow_command(params, int(sys.argv[1]))
    os.execve(command[0], command, environment(params))  # noqa: S606 - no shell is wanted


def environment(params: Params) -> dict[str, str]:
    """The server's environment: the address of the store with its password, and the bucket."""
    # names the bucket to this process and its children, and makes the folder of a file
    uri = connect(params).tracking_uri
    return {**os.environ, **dict([WITHOUT_JOBS]), "MLFLOW_BACKEND_STORE_URI": uri}


if __name__ == "__main__":
    main()
