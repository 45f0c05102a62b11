"""Waiting until a process that was started answers, and the ports and addresses for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

LOOPBACK = "127.0.0.1"
STEP = 0.1  # s between two looks
HTTP_SECONDS = 5.0  # for one answer
TAIL = 1500  # characters of a log that an error shows
PORTS_TRIED = 50


Found = TypeVar("Found")


class NotReadyError(RuntimeError):
    """A process ended before it was ready, or was not ready in time; the message holds the end of its log."""


class Pollable(Protocol):
    """A process whose exit code can be asked for."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""


def wait_ready(
    process: Pollable,
    probe: Callable[[], Found | None],
    seconds: float,
    log: Path | None = None,
    *,
    hidden: str = "",
    step: float = STEP,
) -> Found:
    """Wait until a process is ready, and give what its probe found.

    Args:
        process: is polled, so that its early end is seen.
        probe: gives something true when the process is ready; what it raises ends the wait.
        seconds: how long it may take.
        log: its end is shown where the process is not ready.
        hidden: a secret, which is not shown.
        step: seconds between two looks.

    Raises:
        NotReadyError: the process ended, or took too long; it still runs then.
    """
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if (code := process.poll()) is not None:
            raise NotReadyError(f"ended with code {code} while it started{_shown(log, hidden)}")
        if time.monotonic() > deadline:
            raise NotReadyError(f"was not ready after {seconds:g} s{_shown(log, hidden)}")
        time.sleep(step)
    return found


def answers(url: str) -> bool:
    """Whether a GET on this machine is answered with a status below 300."""
    import httpx

    try:
        # a proxy of the environment must not stand between this machine and itself
        return httpx.get(url, timeout=HTTP_SECONDS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def listens(port: int) -> bool:
    """Whether a connection to this port of the loopback address is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def free_port(host: str = LOOPBACK, wanted: int = 0) -> int:
    """Give the wanted port, or the next free one after it; any free one where 0 is wanted.

    Raises:
        OSError: none of PORTS_TRIED ports is free.
    """
    for port in range(wanted, min(wanted + (PORTS_TRIED if wanted else 1), 65536)):
        try:
            return bindable(host, port)
        except OSError:
            continue
    raise OSError(f"{host}: no free port from {wanted} to {wanted + PORTS_TRIED - 1}")


def bindable(host: str, port: int) -> int:
    """Give the port that a server may listen on, which is `port` or, where that is 0, any.

    Raises:
        OSError: it is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as probe:
        return int(probe.getsockname()[1])


def holder_of(port: int) -> str | None:
    """The program that listens on a port of this machine, in words; None where none does, or it cannot be seen."""
    import psutil

    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                if one.pid is None:
                    return "another user's program holds it"
                return f"process {one.pid} ({' '.join(psutil.Process(one.pid).cmdline())[:80]}) holds it"
    return None


def tail(log: Path, hidden: str = "") -> str:
    """The end of a log, with a secret replaced; empty where there is no log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return (text.replace(hidden, "***") if hidden else text)[-TAIL:]


def _shown(log: Path | None, hidden: str) -> str:
    return f"; the end of {log}:\n{tail(log, hidden) or 'it wrote nothing'}" if log else ""
