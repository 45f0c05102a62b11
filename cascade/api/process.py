"""Start, find and stop services as processes of their own, which outlive the one that started them.

Several may run beside each other, one a release, each with a note in `var/services`. `var/service.json` names the live
one, which clients reach.
"""

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
from cascade.release.store import Release

STATE = Path("var/service.json")
SERVICES = Path("var/services")
# OpenVINO compiles in seconds; a machine that renders beside it is several times slower
START_SECONDS = 120.0
STOP_SECONDS = 15.0
# kept so that Python does not complain of children that are meant to live on
_children: list[subprocess.Popen[bytes]] = []


class ServiceState(ProcessRecord):
    """A service that runs; `url` is where clients reach it, `private` where it listens when a front is before it."""

    port: int
    release: str
    url: str
    private: str | None = None

    @property
    def address(self) -> str:
        """Where the process itself answers."""
        return self.private or self.url

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


def launch(release: Release, params: RuntimeParams, services: Path = SERVICES) -> ServiceState:
    """Start a service for a release beside those that run, and wait until it is ready.

    Args:
        release: verified; at most one service a release runs in a folder.
        params: the runtime's sections; a `serve.port` that another program holds is passed over for the next free one.
        services: takes the note `RELEASE.json` and the log `RELEASE.log`.

    Raises:
        ServiceError: a host that needs a key, or a service that does not come up; nothing of it is left then.
    """
    check_host(params.serve.host, params.serve.key_file)
    serve = params.serve.model_copy(update={"port": _port(params.serve)})
    services.mkdir(parents=True, exist_ok=True)
    note = services / f"{release.id}.json"
    end(read(note, ServiceState), note)
    given = params.model_copy(update={"serve": serve}).model_dump_json()
    command = [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", given]
    child = start_detached(command, note.with_suffix(".log"))
    _children.append(child)
    noted = ServiceState(
        pid=child.pid,
        started=tree.started_at(child.pid) or 0.0,
        folder=folder_of(note),
        port=serve.port,
        release=release.id,
        url=url_of(serve.host, serve.port),
    )
    try:
        # noted before it is ready: if we are killed now, the next run finds it
        noted.write(note)
        _await(child, noted, note.with_suffix(".log"))
    except BaseException:
        end(noted, note)
        raise
    return noted


def url_of(host: str, port: int) -> str:
    """The address of a service as seen from this machine."""
    name = f"[{host}]" if ":" in host else host
    name = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104 - asked, not bound
    return f"http://{name}:{port}"


def running(services: Path = SERVICES) -> list[ServiceState]:
    """The services of this folder whose processes live, live one or not."""
    notes = [(note, read(note, ServiceState)) for note in sorted(services.glob("*.json"))]
    return [noted for note, noted in notes if noted and noted.belongs_to(note) and noted.process()]


def end(noted: ServiceState | None, note: Path | None = None) -> None:
    """Stop a service of this folder and remove its note; it finishes the requests that it has.

    Raises:
        RuntimeError: it does not die.
    """
    if noted and (note is None or noted.belongs_to(note)) and (process := noted.process()):
        tree.end_process(process, STOP_SECONDS)
    if note is not None:
        note.unlink(missing_ok=True)


def set_live(noted: ServiceState, url: str | None = None, state: Path = STATE) -> ServiceState:
    """Note which service is the one that clients reach, and at which address; give the note."""
    change = {"folder": folder_of(state), "url": url or noted.address, "private": noted.address if url else None}
    live = noted.model_copy(update=change)
    state.parent.mkdir(parents=True, exist_ok=True)
    return live.write(state)


def status(state: Path = STATE) -> ServiceState | None:
    """Give the live service if its process still lives and is this folder's, else None."""
    noted = read(state, ServiceState)
    return noted if noted and noted.belongs_to(state) and noted.process() else None


def copied(state: Path = STATE) -> ServiceState | None:
    """Give the service of another folder that a copied note names, where it runs; it is not ours to stop."""
    noted = read(state, ServiceState)
    return noted if noted and not noted.belongs_to(state) and noted.process() else None


def stop(state: Path = STATE) -> bool:
    """Stop the live service and all others of this folder; False where none ran. Nothing else is signalled.

    Raises:
        RuntimeError: one does not die.
    """
    services = state.parent / SERVICES.name
    found = [one for one in (status(state), *running(services)) if one]
    for noted in found:
        end(noted)
    for note in (state, *services.glob("*.json")):
        note.unlink(missing_ok=True)
    return bool(found)


def readiness(url: str) -> tuple[str, str] | None:
    """Give (status, release id) of the service at a URL, or None where none of ours answers."""
    document = _ask(url)
    return (str(document["status"]), str(document["release"])) if document else None


def _ask(url: str) -> dict[str, Any]:
    """What `/readyz` says; empty where none of ours answers."""
    import httpx

    try:
        # A proxy of the environment must not stand between this machine and itself; a certificate is for another name,
        # and reading those of all authorities would take longer than the answer.
        document = httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False, verify=False).json()  # noqa: S501
        return document if {"status", "release"} <= document.keys() else {}
    except (httpx.HTTPError, ValueError, AttributeError):
        return {}


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
        raise ServiceError(f"the service {error}") from None
