"""What runs beside the flows: the keeper of the live release, Prefect's server and worker, MLflow, the miner."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from cascade.process.part import Part
from cascade.process.ready import LOOPBACK
from tasks.config import Params
from tasks.release.tracking import POSTGRES, artifact_root, connect

HOST = LOOPBACK
# cpu: short runs, beside each other; gpu: trainings, which take the graphics card or, without one, all processors
POOLS = ("cpu", "gpu")
STOP_SECONDS = 15.0
# what `--only` chooses from
GROUPS = ("serve", "prefect", "mlflow", "neuron")
# the miner is started where it is named: it needs keys and a subnet
BY_DEFAULT = GROUPS[:3]
WITHOUT_JOBS = ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")


class UiError(RuntimeError):
    """A part of the user interface did not come up."""


def prefect_port() -> int:
    """The port of Prefect's server: 4200, or what PREFECT_PORT says."""
    return int(os.environ.get("PREFECT_PORT", "4200"))


def mlflow_port() -> int:
    """The port of MLflow's server: 5000, or what MLFLOW_PORT says."""
    return int(os.environ.get("MLFLOW_PORT", "5000"))


def prefect_api(port: int) -> str:
    """Address of the server's API."""
    return f"http://{HOST}:{port}/api"


def prefect_server(port: int) -> tuple[str, ...]:
    """Command of Prefect's server."""
    # its pages would ask port 4200 whatever the port; a path alone also goes through a tunnel or a proxy
    return ("env", "PREFECT_SERVER_UI_API_URL=/api", *PREFECT, "server", "start", "--host", HOST, "--port", str(port))


def prefect_worker(pool: str) -> tuple[str, ...]:
    """Command of a pool's worker; PREFECT_API_URL says of which server."""
    return (*PREFECT, "worker", "start", "--pool", pool, "--name", f"{pool}@{platform.node()}")


def worker_part(pool: str) -> str:
    """The name of a worker's part."""
    return "prefect-worker" if pool == "cpu" else f"prefect-worker-{pool}"


def mlflow_server(params: Params, port: int) -> tuple[str, ...]:
    """Command of MLflow's server."""
    if params.stores.mlflow.startswith(POSTGRES):
        # its address holds a password, which the list of processes would show
        return (sys.executable, "-m", "flows.server.mlflow", str(port))
    # makes the folder and the database, which the server would look for elsewhere
    uri = connect(params).tracking_uri
    # no jobs are used here, and their seven processes would take more memory than the server
    return ("env", f"{WITHOUT_JOBS[0]}={WITHOUT_JOBS[1]}", *mlflow_command(params, port, "--backend-store-uri", uri))


def mlflow_command(params: Params, port: int, *store: str, host: str = HOST) -> tuple[str, ...]:
    """The command itself, without its environment; `store` names the database."""
    return (
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *store,
        "--default-artifact-root",
        artifact_root(params),
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    )


def log_of(name: str) -> Path:
    """The log of a part."""
    return Path(f"var/{name}.log")


def parts(params: Params, groups: tuple[str, ...]) -> tuple[Part, ...]:
    """The parts of these groups, in the order of their start."""
    limits, found = params.supervision, []
    if "serve" in groups:
        found.append(_module("keeper", "tasks.release.promotion.keep"))
    if "prefect" in groups:
        url = f"http://{HOST}:{prefect_port()}"
        found.append(_part("prefect-server", prefect_server(prefect_port()), url, limits.prefect_gib))
        # without a limit: trainings run inside it
        workers = (_module(worker_part(pool), "flows.server.worker", str(prefect_port()), pool) for pool in POOLS)
        found.extend(workers)
    # a server of its own is not started here
    if "mlflow" in groups and not params.stores.mlflow.startswith("http"):
        command = mlflow_server(params, mlflow_port())
        found.append(_part("mlflow", command, f"http://{HOST}:{mlflow_port()}", limits.mlflow_gib))
    if "neuron" in groups:
        url = f"http://{HOST}:{params.neuron.metrics_port}"
        command = (sys.executable, "-m", "cascade.neuron.app")
        found.append(_part("neuron", command, url, limits.neuron_gib))
    return tuple(found)


def _module(name: str, module: str, *arguments: str) -> Part:
    return _part(name, (sys.executable, "-m", module, *arguments))


def _part(name: str, command: tuple[str, ...], url: str | None = None, gib: float = 0) -> Part:
    return Part(name=name, command=command, log=log_of(name), url=url, seconds=STOP_SECONDS, gib=gib)
