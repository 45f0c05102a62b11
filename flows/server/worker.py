"""Prefect's worker as `streetvision up` runs it: waits for the server, makes pool and deployments, and becomes it."""

from __future__ import annotations

import os
import sys
import time

from cascade.process.ready import answers
from flows.server.parts import UiError, deploy, prefect_api, prefect_worker

START_SECONDS = 180.0  # for the server, which takes 20 s on two busy cores


def main() -> None:
    """Run as `python -m flows.server.worker PORT`."""
    api = prefect_api(int(sys.argv[1]))
    until = time.monotonic() + START_SECONDS
    while not answers(f"{api}/health"):
        if time.monotonic() > until:
            sys.exit(f"no Prefect server answers at {api}")
        time.sleep(1.0)
    environment = {**os.environ, "PREFECT_API_URL": api}
    try:
        deploy(environment)
    except UiError as error:
        sys.exit(str(error))
    command = prefect_worker()
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
