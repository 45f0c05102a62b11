"""`streetvision up`: keep the service, nginx, Prefect and MLflow running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from cascade.api.auth import check_host
from cascade.api.process import SERVICES, readiness, status
from cascade.extras import require
from cascade.process import part as parts_now
from cascade.process.part import FOLDER, Part
from cascade.process.ready import LOOPBACK, answers, bindable, holder_of, tail
from deploy.nginx import front as nginx
from deploy.pm2.pm2 import Pm2Error
from flows.server import supervision
from flows.server.parts import (
    BY_DEFAULT,
    GROUPS,
    POOLS,
    UiError,
    mlflow_port,
    parts,
    prefect_api,
    prefect_port,
    worker_part,
)
from tasks.config import Params, load_params
from tasks.release.promotion.keep import wanted
from tasks.release.tracking import prepare
from tasks.stores.databases import check_prefect
from tasks.tools.promote import errors

app = typer.Typer()
LOCK = FOLDER / "lock"
START_SECONDS = 240.0
PROBES = {"prefect-server": "/api/health", "neuron": "/metrics"}


class UpError(RuntimeError):
    """What `up` was asked for cannot be started, or did not come up."""


@app.command("up")
def up(
    only: Annotated[str, typer.Option(help="Of serve, prefect, mlflow and neuron, with commas.")] = ",".join(
        BY_DEFAULT
    ),
) -> None:
    """Start what is not yet running, have it started again when it ends, and say what runs where."""
    require("streetvision up", "prefect", "mlflow")
    with errors("up", UpError, UiError, Pm2Error, RuntimeError), up_lock():
        params = load_params()
        groups = _groups(only)
        now = supervision.running()
        if now is None or not set(groups) <= set(now.groups):
            groups = tuple(one for one in GROUPS if one in groups or (now and one in now.groups))
            _start(params, groups, already=now.groups if now else ())
        else:
            groups = now.groups
        found = parts(params, groups)
        _await(found)
        _print(found, groups)


@contextmanager
def up_lock() -> Iterator[None]:
    """Have one `up` or `down` at a time in this folder."""
    from filelock import FileLock

    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        yield


def _groups(only: str) -> tuple[str, ...]:
    asked = [one.strip() for one in only.split(",") if one.strip()]
    if not asked or (unknown := [one for one in asked if one not in GROUPS]):
        raise UpError(f"--only {only}: {', '.join(unknown) if asked else 'nothing'}; there are {', '.join(GROUPS)}")
    return tuple(one for one in GROUPS if one in asked)


def _start(params: Params, groups: tuple[str, ...], already: tuple[str, ...]) -> None:
    """Look at all that could keep a part from starting, then start the supervisor."""
    new = [one for one in groups if one not in already]
    if "serve" in new:
        _check_service(params)
    for group, port, variable in (
        ("prefect", prefect_port(), "PREFECT_PORT"),
        ("mlflow", mlflow_port(), "MLFLOW_PORT"),
    ):
        if group in new:
            _check_port(LOOPBACK, port, f"set {variable} to another one")
    if "neuron" in new:
        _check_neuron(params)
    if "mlflow" in groups:
        prepare(params)
    if "prefect" in new:
        check_prefect(params.stores)
    program = supervision.choose(params.supervision.program, print)
    supervision.start(program, parts(params, groups), groups)


def _check_neuron(params: Params) -> None:
    from cascade.neuron.serve import check

    require("streetvision up --only neuron", "bittensor")
    try:
        check(params.neuron)
    except OSError as error:
        raise UpError(str(error)) from None


def _check_service(params: Params) -> None:
    if wanted() is None:
        raise UpError(
            "no release was promoted yet: `make run` builds and promotes one, and `streetvision promote RELEASE --why "
            "TEXT` one that is built; `streetvision up --only prefect,mlflow` starts the others"
        )
    serve = params.serve
    check_host(serve.host, serve.key_file)
    if status() or nginx.leftovers():
        return
    _check_port(serve.host, serve.port, "set serve.port in params.yaml")


def _check_port(host: str, port: int, advice: str) -> None:
    try:
        bindable(host, port)
    except OSError as error:
        raise UpError(f"{host}:{port} cannot be listened on: {holder_of(port) or error.strerror}; {advice}") from None


def _await(found: tuple[Part, ...]) -> None:
    """Wait until all answer.

    Raises:
        UpError: names the part and the end of its log; the others go on.
    """
    until = time.monotonic() + START_SECONDS
    for part in found:
        while not _is_ready(part):
            if supervision.running() is None:
                raise UpError(f"the supervisor has ended; the end of {supervision.LOG}:\n{tail(supervision.LOG)}")
            if time.monotonic() > until:
                raise UpError(f"{part.name} is not ready; it goes on trying. The end of {part.log}:\n{tail(part.log)}")
            time.sleep(0.3)


def _is_ready(part: Part) -> bool:
    if parts_now.running(part.name) is None:
        return False
    if part.name == "keeper":
        live = status()
        return live is not None and readiness(live.url) == ("ready", wanted())
    if (pool := _pool(part)) is not None:
        return _has_worker(pool)
    return answers(f"{part.url}{PROBES.get(part.name, '/health')}")


def _pool(part: Part) -> str | None:
    return next((pool for pool in POOLS if worker_part(pool) == part.name), None)


def _has_worker(pool: str) -> bool:
    """Whether a worker has reported to a pool of the server."""
    import httpx

    try:
        found = httpx.post(
            f"{prefect_api(prefect_port())}/work_pools/{pool}/workers/filter", json={}, timeout=5.0, trust_env=False
        )
        return found.is_success and any(one.get("status") == "ONLINE" for one in found.json())
    except (httpx.TransportError, ValueError):
        return False


def _print(found: tuple[Part, ...], groups: tuple[str, ...]) -> None:
    now, live, front = supervision.running(), status(), nginx.running()
    rows = [("part", "address", "process", "log", "started again by")]
    if "serve" in groups and live:
        log = SERVICES / f"{live.release}.log"
        rows.append((f"service, release {live.release}", live.address, str(live.pid), str(log), "keeper"))
        if live.private and front:
            rows.append(("nginx", live.url, str(front.pid), str(nginx.PREFIX / "error.log"), "keeper"))
    program = {"pm2": "PM2", "own": "our supervisor"}[now.program if now else "own"]
    for part in found:
        noted = parts_now.running(part.name)
        rows.append((part.name, part.url or "", str(noted.pid) if noted else "", str(part.log), program))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    print("`streetvision down` ends all of it")


if __name__ == "__main__":
    app()
