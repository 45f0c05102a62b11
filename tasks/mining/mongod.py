"""A mongod for whoever needs one: started by the first client, shared by the others, stopped after the last.

Run as a module with the database's folder. FiftyOne can start one too, but takes 16 s to, loads itself a second time
for it, and joins whatever database another project has open. Here a client is a process that holds a shared lock on
`clients.lock`, which the kernel lets go of even after SIGKILL.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from cascade.process.ready import LOOPBACK, NotReadyError, free_port, listens, wait_ready
from cascade.process.supervisor import Supervised
from tasks.common.files import write_json

CLIENTS, SERVER, ADDRESS, LOG = "clients.lock", "server.lock", "server.json", "mongod.log"
DATA = "db"
ATTEMPTS = 3  # a port that was free can be taken before mongod binds it
START_SECONDS = 60
STOP_SECONDS = 60  # it writes what it holds to disk
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
        port = free_port()
        with _start(mongod, folder, port) as child:
            try:
                wait_ready(child, partial(listens, port), START_SECONDS)
            except NotReadyError:
                code = child.poll() or code
                continue
            write_json(folder / ADDRESS, {"port": port, "pid": child.pid})
            return _watch(child, folder)
    return code


def _start(mongod: str, folder: Path, port: int) -> Supervised:
    (folder / DATA).mkdir(parents=True, exist_ok=True)
    # mongod keeps an old log under a dated name at every start; one is enough
    (folder / LOG).unlink(missing_ok=True)
    place = ["--dbpath", str(folder / DATA), "--logpath", str(folder / LOG)]
    network = ["--port", str(port), "--bind_ip", LOOPBACK, "--nounixsocket"]
    size = ["--wiredTigerCacheSizeGB", str(CACHE_GB)]
    return Supervised([mongod, *place, *network, *size], seconds=STOP_SECONDS)


def _watch(child: Supervised, folder: Path) -> int:
    while child.poll() is None:
        try:
            # held to the end: a client that comes now waits for this to be over, then starts its own
            hold(folder / CLIENTS, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(POLL_SECONDS)
            continue
        (folder / ADDRESS).unlink(missing_ok=True)
        child.stop()
        return 0
    (folder / ADDRESS).unlink(missing_ok=True)
    return child.poll() or 1


def main() -> None:
    """Run as `python -m tasks.mining.mongod MONGOD FOLDER`, away from the terminal's signals."""
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.exit(serve(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    main()
