"""A server as a container runs it: `python -m flows.server.container prefect|mlflow` becomes it, for the whole network.

Its database and bucket are those of section `stores` of the params.yaml in the current folder.
"""

from __future__ import annotations

import os
import sys

from flows.server.mlflow import environment
from flows.server.parts import PREFECT, mlflow_command
from tasks.config import load_params
from tasks.release.tracking import RegisterError, prepare
from tasks.stores.databases import check_prefect
from tasks.stores.errors import StoreError

HOST = "0.0.0.0"  # noqa: S104  # of a container, which a network policy guards
PORTS = {"prefect": 4200, "mlflow": 5000}


def main() -> None:
    """Look whether the stores can be used, and become the server.

    `flows`, which this imports, has told Prefect its database.
    """
    name = sys.argv[1]
    params = load_params()
    try:
        if name == "prefect":
            check_prefect(params.stores)
            command: tuple[str, ...] = (*PREFECT, "server", "start", "--host", HOST, "--port", str(PORTS[name]))
            settings = {**os.environ, "PREFECT_SERVER_UI_API_URL": "/api"}
        else:
            prepare(params)
            command = mlflow_command(params, PORTS[name], host=HOST)
            settings = environment(params)
    except (StoreError, RegisterError) as error:
        sys.exit(f"error: {error}")
    os.execve(command[0], command, settings)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
