"""`make ui`: Prefect's server, work pool, worker and deployment, and MLflow, on loopback until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from cascade.process.ready import LOOPBACK, NotReadyError, answers, bindable, wait_ready
from cascade.process.supervisor import Supervised, run
from tasks.config import load_params
from tasks.release.tracking import RegisterError, connect, prepare

HOST = LOOPBACK
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
        except (RegisterError, UiError) as error:
            sys.exit(f"error: {error}")


def start(stack: ExitStack, prefect_port: int, mlflow_port: int) -> dict[str, Supervised]:
    """Start server, pool, deployment, worker and MLflow in this order; the stack stops them in reverse.

    Raises:
        UiError: a port is taken, a part ended early, or a command failed; the message names its log.
    """
    _free(prefect_port, "PREFECT_PORT")
    _free(mlflow_port, "MLFLOW_PORT")
    prepare(load_params().register_)
    api = f"http://{HOST}:{prefect_port}/api"
    env = {**os.environ, "PREFECT_API_URL": api}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    serve = [*prefect, "server", "start", "--host", HOST, "--port", str(prefect_port)]
    server = _part(stack, "prefect-server", serve, os.environ)
    _wait(server, "prefect-server", f"{api}/health")
    _command([*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"], env)
    _command([*prefect, "deploy", "--all"], env)
    worker = _part(stack, "prefect-worker", [*prefect, "worker", "start", "--pool", POOL], env)
    mlflow = _part(stack, "mlflow", _mlflow(mlflow_port), os.environ)
    _wait(mlflow, "mlflow", f"http://{HOST}:{mlflow_port}/health")
    return {"prefect-server": server, "prefect-worker": worker, "mlflow": mlflow}


def _mlflow(port: int) -> list[str]:
    params = load_params().register_
    # makes the folder and the database, which the server would look for elsewhere
    uri = connect(params).tracking_uri
    store = ["--backend-store-uri", uri, "--default-artifact-root", Path("var/mlartifacts").resolve().as_uri()]
    return [sys.executable, "-m", "mlflow", "server", *store, "--host", HOST, "--port", str(port), "--workers", "1"]


def _part(stack: ExitStack, name: str, command: list[str], env: Mapping[str, str]) -> Supervised:
    """A process with a log in var/, stopped with its children when the stack is closed."""
    return stack.enter_context(Supervised(command, env=env, log=_log(name), seconds=STOP_SECONDS))


def _log(name: str) -> Path:
    return Path(f"var/{name}.log")


def _wait(process: Supervised, name: str, url: str) -> None:
    try:
        wait_ready(process, lambda: answers(url), START_SECONDS, _log(name))
    except NotReadyError as error:
        raise UiError(f"{name} at {url} {error}") from None


def _command(command: list[str], env: Mapping[str, str]) -> None:
    done = run(command, env=env)
    if done.returncode != 0:
        raise UiError(f"`{' '.join(command[2:])}` failed: {done.stdout.strip()[-2000:]}")


def _free(port: int, name: str) -> None:
    try:
        bindable(HOST, port)
    except OSError:
        raise UiError(f"port {port} is taken; set {name} to another one") from None


def _watch(parts: dict[str, Supervised]) -> None:
    while True:
        for name, process in parts.items():
            if (code := process.poll()) is not None:
                raise UiError(f"{name} ended with exit code {code}; see {_log(name)}")
        time.sleep(1.0)


if __name__ == "__main__":
    main()
