"""Start, find and stop the service as a process of its own, which outlives the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from pydantic import model_validator

from cascade.api.auth import ServiceError, check_host
from cascade.config import RuntimeParams, ServeParams
from cascade.process import tree
from cascade.process.ready import NotReadyError, free_port, tail, wait_ready
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import start_detached
from cascade.release.store import Release, champion

STATE = Path("var/service.json")
# OpenVINO compiles in seconds; a machine that renders beside it is several times slower
START_SECONDS = 120.0
STOP_SECONDS = 15.0
# kept so that Python does not complain of children that are meant to live on
_children: list[subprocess.Popen[bytes]] = []


class ServiceState(ProcessRecord):
    """The service that runs."""

    port: int
    release: str
    url: str

    @model_validator(mode="before")
    @classmethod
    def _without_folder(cls, noted: Any) -> Any:
        """Read a note of before `folder`: its service, which may run, works in the folder that `var` lies in."""
        if not isinstance(noted, dict) or "folder" in noted:
            return noted
        try:
            folder = folder_of(Path(psutil.Process(noted["pid"]).cwd()) / STATE)
            return {**noted, "folder": folder, "started": noted["started"] / os.sysconf("SC_CLK_TCK")}
        except (psutil.Error, KeyError, TypeError, ValueError):
            return noted


def start(releases: Path, params: RuntimeParams, state: Path = STATE) -> ServiceState:
    """Have the champion answer over HTTP.

    A healthy service with the champion is left alone; one with another release is stopped first.

    Args:
        releases: folder of releases with its `champion`.
        params: the runtime's sections; a `serve.port` that another program holds is passed over for the next free one.
        state: where the running service is noted; its log lies beside it.

    Raises:
        ServiceError: no champion, a host that needs a key, or a service that does not come up.
        ReleaseError: the champion does not verify.
    """
    from filelock import FileLock

    release = champion(releases)
    if release is None:
        raise ServiceError(f"{releases}: no champion to serve; `make run` trains and promotes one")
    check_host(params.serve.host)
    state.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(state.with_suffix(".lock")):
        running = status(state)
        if running and running.release == release.id and readiness(running.url) == ("ready", release.id):
            return running
        stop(state)
        return _launch(release, params, state)


def status(state: Path = STATE) -> ServiceState | None:
    """Give the noted service if its process still lives and is this folder's, else None."""
    noted = read(state, ServiceState)
    return noted if noted and noted.belongs_to(state) and noted.process() else None


def copied(state: Path = STATE) -> ServiceState | None:
    """Give the service of another folder that a copied note names, where it runs; it is not ours to stop."""
    noted = read(state, ServiceState)
    return noted if noted and not noted.belongs_to(state) and noted.process() else None


def stop(state: Path = STATE) -> bool:
    """Stop the noted service and wait for its end; False where none ran. Nothing but our own process is signalled.

    Raises:
        RuntimeError: it does not die.
    """
    running = status(state)
    if running:
        _end(running)
    state.unlink(missing_ok=True)
    return running is not None


def readiness(url: str) -> tuple[str, str] | None:
    """Give (status, release id) of the service at a URL, or None where none of ours answers."""
    document = _ask(url)
    return (str(document["status"]), str(document["release"])) if document else None


def _ask(url: str) -> dict[str, Any]:
    """What `/readyz` says; empty where none of ours answers."""
    import httpx

    try:
        # a proxy of the environment must not stand between this machine and itself
        document = httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).json()
        return document if {"status", "release"} <= document.keys() else {}
    except (httpx.HTTPError, ValueError, AttributeError):
        return {}


def _launch(release: Release, params: RuntimeParams, state: Path) -> ServiceState:
    serve = params.serve.model_copy(update={"port": _port(params.serve)})
    log = state.with_suffix(".log")
    given = params.model_copy(update={"serve": serve}).model_dump_json()
    command = [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", given]
    child = start_detached(command, log)
    _children.append(child)
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - asked, not bound
    noted = ServiceState(
        pid=child.pid,
        started=tree.started_at(child.pid) or 0.0,
        folder=folder_of(state),
        port=serve.port,
        release=release.id,
        url=f"http://{host}:{serve.port}",
    )
    # noted before it is ready: if we are killed now, the next start finds it
    noted.write(state)
    _await(child, noted, log)
    return noted


def _port(serve: ServeParams) -> int:
    try:
        return free_port(serve.host, serve.port)
    except OSError as error:
        raise ServiceError(f"{error}; set serve.port") from None


def _await(child: subprocess.Popen[bytes], noted: ServiceState, log: Path) -> None:
    def ready() -> bool:
        found = _ask(noted.url)
        if found.get("status") == "failed":
            # a service with a key gives no reason without it, and the log ends with it
            reason = found.get("reason") or " ".join(tail(log).splitlines()[-1:])
            raise NotReadyError(f"cannot load release {noted.release}: {reason} (see {log})")
        return (found.get("status"), found.get("release")) == ("ready", noted.release)

    try:
        wait_ready(child, ready, START_SECONDS, log)
    except NotReadyError as error:
        _end(noted)
        raise ServiceError(f"the service {error}") from None


def _end(noted: ServiceState) -> None:
    if process := noted.process():
        tree.end_process(process, STOP_SECONDS)
