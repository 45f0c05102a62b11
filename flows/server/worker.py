"""A worker of Prefect as `streetvision up` runs it: waits for the server, sets it up, and becomes the worker."""

from __future__ import annotations

import os
import sys
import time

from cascade.process.ready import answers
from flows.server.deploy import deploy, server_environment
from flows.server.parts import POOLS, UiError, prefect_api, prefect_worker

START_SECONDS = 180.0  # for the server, which takes 20 s on two busy cores


def main() -> None:
    """Run as `python -m flows.server.worker PORT POOL`; the worker of the first pool deploys, and the others wait."""
    api, pool = prefect_api(int(sys.argv[1])), sys.argv[2]
    _wait(f"{api}/health", f"no Prefect server answers at {api}")
    environment = server_environment(api)
    if pool == POOLS[0]:
        try:
            deploy(environment)
        except UiError as error:
            sys.exit(str(error))
    _wait(f"{api}/work_pools/{pool}", f"{api} has no work pool {pool}")
    command = prefect_worker(pool)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted


def _wait(url: str, failure: str) -> None:
    until = time.monotonic() + START_SECONDS
    while not answers(url):
        if time.monotonic() > until:
            sys.exit(failure)
        time.sleep(1.0)


if __name__ == "__main__":
    main()
