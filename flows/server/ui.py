"""`make ui`: Prefect's server, workers and deployments, and MLflow, on loopback until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from cascade.process.ready import NotReadyError, answers, bindable, wait_ready
from cascade.process.supervisor import Supervised
from flows.server import parts as commands
from flows.server.deploy import deploy, server_environment
from flows.server.parts import HOST, STOP_SECONDS, UiError, log_of, worker_part
from tasks.config import load_params
from tasks.release.tracking import RegisterError, prepare
from tasks.stores.databases import check_prefect
from tasks.stores.errors import StoreError

START_SECONDS = 180.0


def main() -> None:
    """Start all parts, print where they are, and stop them together: on Ctrl-C, or when one of them ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ports = commands.prefect_port(), commands.mlflow_port()
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
        except (RegisterError, StoreError, UiError) as error:
            sys.exit(f"error: {error}")


def start(stack: ExitStack, prefect_port: int, mlflow_port: int) -> dict[str, Supervised]:
    """Start server, deployments, workers and MLflow in this order; the stack stops them in reverse.

    Raises:
        UiError: a port is taken, a part ended early, or a command failed; the message names its log.
    """
    _free(prefect_port, "PREFECT_PORT")
    _free(mlflow_port, "MLFLOW_PORT")
    params = load_params()
    prepare(params)
    check_prefect(params.stores)
    api = commands.prefect_api(prefect_port)
    env = server_environment(api)
    server = _part(stack, "prefect-server", commands.prefect_server(prefect_port), os.environ)
    _wait(server, "prefect-server", f"{api}/health")
    deploy(env)
    workers = {
        worker_part(pool): _part(stack, worker_part(pool), commands.prefect_worker(pool), env)
        for pool in commands.POOLS
    }
    mlflow = _part(stack, "mlflow", commands.mlflow_server(params, mlflow_port), os.environ)
    _wait(mlflow, "mlflow", f"http://{HOST}:{mlflow_port}/health")
    return {"prefect-server": server, **workers, "mlflow": mlflow}


def _part(stack: ExitStack, name: str, command: tuple[str, ...], env: Mapping[str, str]) -> Supervised:
    """A process with a log in var/, stopped with its children when the stack is closed."""
    return stack.enter_context(Supervised(command, env=env, log=log_of(name), seconds=STOP_SECONDS))


def _wait(process: Supervised, name: str, url: str) -> None:
    try:
        wait_ready(process, lambda: answers(url), START_SECONDS, log_of(name))
    except NotReadyError as error:
        raise UiError(f"{name} at {url} {error}") from None


def _free(port: int, name: str) -> None:
    try:
        bindable(HOST, port)
    except OSError:
        raise UiError(f"port {port} is taken; set {name} to another one") from None


def _watch(parts: dict[str, Supervised]) -> None:
    while True:
        for name, process in parts.items():
            if (code := process.poll()) is not None:
                raise UiError(f"{name} ended with exit code {code}; see {log_of(name)}")
        time.sleep(1.0)


if __name__ == "__main__":
    main()
