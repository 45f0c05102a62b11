"""`make ui`: Prefect's server, work pool, worker and deployment, and MLflow, on loopback until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import load_params
from tasks.release.registry import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 15.0
POOL = "cpu"


class UiError(RuntimeError):
    """A part of the user interface did not come up."""


def main() -> None:
    """Start all parts, print where they are, and stop them together: on Ctrl-C, or when one of them ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ports = int(os.environ.get("PREFECT_PORT", "4200")), int(os.environ.get("MLFLOW_PORT", "5000"))
    with ExitStack() as stack:
        try:
            parts = start(stack, *ports)
            print(
                f"Prefect  http://{HOST}:{ports[0]}\nMLflow   http://{HOST}:{ports[1]}\nCtrl-C stops both.", flush=True
            )
            _watch(parts)
        except KeyboardInterrupt:
            # Ctrl-C comes twice, from the terminal and through `uv run`; the second must not cut the stopping short
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            print("stopping", flush=True)
        except UiError as error:
            sys.exit(f"error: {error}")


def start(stack: ExitStack, prefect_port: int, mlflow_port: int) -> dict[str, subprocess.Popen[bytes]]:
    """Start server, pool, deployment, worker and MLflow in this order; the stack stops them in reverse.

    Raises:
        UiError: a port is taken, a part ended early, or a command failed; the message names its log.
    """
    _free(prefect_port, "PREFECT_PORT")
    _free(mlflow_port, "MLFLOW_PORT")
    api = f"http://{HOST}:{prefect_port}/api"
    env = {**os.environ, "PREFECT_API_URL": api}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    server = stack.enter_context(
        _part("prefect-server", [*prefect, "server", "start", "--host", HOST, "--port", str(prefect_port)], os.environ)
    )
    _answers(f"{api}/health", "prefect-server", server)
    _command([*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"], env)
    _command([*prefect, "deploy", "--all"], env)
    worker = stack.enter_context(_part("prefect-worker", [*prefect, "worker", "start", "--pool", POOL], env))
    mlflow = stack.enter_context(_part("mlflow", _mlflow(mlflow_port), os.environ))
    _answers(f"http://{HOST}:{mlflow_port}/health", "mlflow", mlflow)
    return {"prefect-server": server, "prefect-worker": worker, "mlflow": mlflow}


def _mlflow(port: int) -> list[str]:
    params = load_params().register_
    # makes the folder and the database, which the server would look for elsewhere
    uri = connect(params).tracking_uri
    store = ["--backend-store-uri", uri, "--default-artifact-root", Path("var/mlartifacts").resolve().as_uri()]
    return [sys.executable, "-m", "mlflow", "server", *store, "--host", HOST, "--port", str(port), "--workers", "1"]


@contextmanager
def _part(name: str, command: list[str], env: dict[str, str] | os._Environ[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its children in a group of its own and a log in var/, stopped when the block ends."""
    Path("var").mkdir(exist_ok=True)
    with Path(f"var/{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, and end what stays."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _answers(url: str, name: str, process: subprocess.Popen[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UiError(f"{name} ended with exit code {process.returncode}; see var/{name}.log")
        try:
            if httpx.get(url, timeout=5.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise UiError(f"{name} does not answer at {url}; see var/{name}.log")


def _command(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UiError(f"`{' '.join(command[2:])}` failed: {(done.stdout + done.stderr).strip()[-2000:]}")


def _free(port: int, name: str) -> None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise UiError(f"port {port} is taken; set {name} to another one") from None


def _watch(parts: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, process in parts.items():
            if process.poll() is not None:
                raise UiError(f"{name} ended with exit code {process.returncode}; see var/{name}.log")
        time.sleep(1.0)


if __name__ == "__main__":
    main()
