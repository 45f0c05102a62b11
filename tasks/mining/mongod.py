"""A mongod for whoever needs one: started by the first client, shared by the others, stopped after the last.

Run as a script with the database's folder. FiftyOne can start one too, but takes 16 s to, loads itself a second time
for it, and joins whatever database another project has open. Here a client is a process that holds a shared lock on
`clients.lock`, which the kernel lets go of even after SIGKILL. Standard library only, so that it starts at once.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

CLIENTS, SERVER, ADDRESS, LOG = "clients.lock", "server.lock", "server.json", "mongod.log"
DATA = "db"
ATTEMPTS = 3  # a port that was free can be taken before mongod binds it
START_SECONDS = 60
POLL_SECONDS = 0.5
CACHE_GB = 1


def hold(path: Path, kind: int) -> int:
    """Lock a file (`fcntl.LOCK_SH` or `LOCK_EX`, with `LOCK_NB` as wished); gives the descriptor that holds the lock.

    Raises:
        BlockingIOError: with LOCK_NB, where another process holds it.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def serve(mongod: str, folder: Path) -> int:
    """Run `mongod` over `folder` until no client is left; gives its exit code, or 0 where another supervisor runs."""
    try:
        hold(folder / SERVER, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    (folder / ADDRESS).unlink(missing_ok=True)
    code = 1
    for _ in range(ATTEMPTS):
        port = _free_port()
        child = _start(mongod, folder, port)
        if _answers(child, port):
            _write_address(folder, port, child.pid)
            return _watch(child, folder)
        child.terminate()
        code = child.wait()
    return code or 1


def _start(mongod: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    # mongod keeps an old log under a dated name at every start; one is enough
    (folder / LOG).unlink(missing_ok=True)
    place = ["--dbpath", str(folder / DATA), "--logpath", str(folder / LOG)]
    network = ["--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    size = ["--wiredTigerCacheSizeGB", str(CACHE_GB)]
    return subprocess.Popen(
        [mongod, *place, *network, *size],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - the supervisor has no threads
    )


def _die_with_parent() -> None:
    # PR_SET_PDEATHSIG: a killed supervisor takes mongod with it
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with closing(socket.socket()) as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    return False


def _write_address(folder: Path, port: int, pid: int) -> None:
    partial = folder / f".{ADDRESS}.partial"
    partial.write_text(json.dumps({"port": port, "pid": pid}), encoding="utf-8")
    partial.replace(folder / ADDRESS)


def _watch(child: subprocess.Popen[bytes], folder: Path) -> int:
    while child.poll() is None:
        try:
            # held to the end: a client that comes now waits for this to be over, then starts its own
            hold(folder / CLIENTS, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(POLL_SECONDS)
            continue
        (folder / ADDRESS).unlink(missing_ok=True)
        child.terminate()
        child.wait()
        return 0
    (folder / ADDRESS).unlink(missing_ok=True)
    return child.returncode or 1


def main() -> None:
    """Run as `python mongod.py <mongod> <folder>`, away from the terminal's signals."""
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(serve(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
