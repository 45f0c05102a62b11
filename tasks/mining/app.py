"""The server of the FiftyOne App, as a child process on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

# the App shows every picture of the dataset to whoever reaches it, so nobody else does
HOST = "127.0.0.1"
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
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise AppError(f"port {port}: {error.strerror}, perhaps another review; choose one with --port") from None
    log.parent.mkdir(parents=True, exist_ok=True)
    main = Path(str(find_spec("fiftyone.server.main").origin))  # type: ignore[union-attr]
    command = [sys.executable, main.name, "--port", str(port), "--address", HOST]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=main.parent, env={**os.environ, "FIFTYONE_DO_NOT_TRACK": "true"}, stdout=output, stderr=output
        )
    try:
        _await(child, port, log)
        yield f"http://{HOST}:{port}"
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise AppError(f"the App's server ended with code {child.returncode}; see {log}")
        try:
            # a proxy of the environment must not stand between this machine and itself
            if httpx.get(f"http://{HOST}:{port}/fiftyone", timeout=5.0, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.25)
    raise AppError(f"the App's server did not answer within {START_SECONDS:g} s; see {log}")
