"""The server of the FiftyOne App, as a child process on loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cascade.process.ready import LOOPBACK, NotReadyError, answers, bindable, wait_ready
from cascade.process.supervisor import Supervised

# the App shows every picture of the dataset to whoever reaches it, so nobody else does
HOST = LOOPBACK
# FiftyOne's own `launch_app` gives up after 60 s, which two busy cores need for its imports alone
START_SECONDS = 300.0
STOP_SECONDS = 15.0
LOG = Path("var/fiftyone-app.log")


class AppError(RuntimeError):
    """The App's server does not come up."""


@contextmanager
def serving(port: int, log: Path = LOG) -> Iterator[str]:
    """Run the server while the block runs and give its address; call `database.connect` before it.

    Raises:
        AppError: the port is taken, or the server ended or did not answer; the message names its log.
    """
    try:
        bindable(HOST, port)
    except OSError as error:
        raise AppError(f"port {port}: {error.strerror}, perhaps another review; choose one with --port") from None
    main = Path(str(find_spec("fiftyone.server.main").origin))  # type: ignore[union-attr]
    command = [sys.executable, main.name, "--port", str(port), "--address", HOST]
    env = {**os.environ, "FIFTYONE_DO_NOT_TRACK": "true"}
    with Supervised(command, cwd=main.parent, env=env, log=log, seconds=STOP_SECONDS) as child:
        try:
            wait_ready(child, lambda: answers(f"http://{HOST}:{port}/fiftyone"), START_SECONDS, log)
        except NotReadyError as error:
            raise AppError(f"the App's server {error}") from None
        yield f"http://{HOST}:{port}"
