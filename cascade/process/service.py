"""Start, find and stop the service as a process of its own, which outlives the one that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cascade.api.auth import ServiceError, check_host
from cascade.config import RuntimeParams
from cascade.release.store import Release, champion

STATE = Path("var/service.json")
# OpenVINO compiles in seconds; a machine that renders beside it is several times slower
START_SECONDS = 120.0
STOP_SECONDS = 15.0
PORTS_TRIED = 50
# kept so that Python does not complain of children that are meant to live on
_children: list[subprocess.Popen[bytes]] = []


class ServiceState(BaseModel):
    """The service that runs. `started` (clock ticks after boot) tells it from a later process with the same pid."""

    model_config = ConfigDict(frozen=True)
    pid: int
    port: int
    release: str
    url: str
    started: int


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
    """Give the noted service if its process still lives, else None."""
    try:
        noted = ServiceState.model_validate_json(state.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return noted if started_at(noted.pid) == noted.started else None


def stop(state: Path = STATE) -> bool:
    """Stop the noted service and wait for its end; False where none ran. Nothing but our own process is signalled."""
    running = status(state)
    if running:
        _end(running.pid, running.started)
    state.unlink(missing_ok=True)
    return running is not None


def started_at(pid: int) -> int | None:
    """When a process was started, in clock ticks after boot; None if it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the second field is the program's name, which may hold spaces and brackets
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def free_port(host: str, wanted: int) -> int:
    """Give the wanted port, or the next free one after it.

    Raises:
        ServiceError: none is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        try:
            with socket.create_server((host, port), family=family) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise ServiceError(f"{host}: no free port from {wanted} to {wanted + PORTS_TRIED - 1}; set serve.port")


def readiness(url: str) -> tuple[str, str] | None:
    """Give (status, release id) of the service at a URL, or None where none of ours answers."""
    import httpx

    try:
        # a proxy of the environment must not stand between this machine and itself
        document = httpx.get(f"{url}/readyz", timeout=2.0, trust_env=False).json()
        return str(document["status"]), str(document["release"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def _launch(release: Release, params: RuntimeParams, state: Path) -> ServiceState:
    serve = params.serve.model_copy(update={"port": free_port(params.serve.host, params.serve.port)})
    log = state.with_suffix(".log")
    given = params.model_copy(update={"serve": serve}).model_dump_json()
    command = [sys.executable, "-m", "cascade.api.app", "--release", str(release.folder), "--params", given]
    with log.open("wb") as output:
        # a session of its own: Ctrl-C or the end of the caller's terminal does not reach it
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    _children.append(child)
    host = f"[{serve.host}]" if ":" in serve.host else serve.host
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - asked, not bound
    url = f"http://{host}:{serve.port}"
    noted = ServiceState(
        pid=child.pid, port=serve.port, release=release.id, url=url, started=started_at(child.pid) or 0
    )
    # noted before it is ready: if we are killed now, the next start finds it
    _write(state, noted)
    _await(child, noted, log)
    return noted


def _await(child: subprocess.Popen[bytes], noted: ServiceState, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ServiceError(f"the service ended with code {child.returncode}: {_last_line(log)} (see {log})")
        answer = readiness(noted.url)
        if answer == ("ready", noted.release):
            return
        if answer and answer[0].startswith("failed"):
            _end(noted.pid, noted.started)
            raise ServiceError(f"the service {answer[0]} (see {log})")
        time.sleep(0.1)
    _end(noted.pid, noted.started)
    raise ServiceError(f"the service was not ready after {START_SECONDS:g} s (see {log})")


def _end(pid: int, started: int) -> None:
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        if started_at(pid) != started:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while started_at(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)


def _write(path: Path, noted: ServiceState) -> None:
    beside = path.with_suffix(f".{os.getpid()}.new")
    beside.write_text(noted.model_dump_json(indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"
