"""The old service's end: kept warm for a while, then stopped by a small process of its own that outlives the flow.

Where that process is killed, the next promotion, rollback or `make run` stops what is left (`end_strays`).
"""

from __future__ import annotations

import sys
import time

from filelock import FileLock, Timeout

from cascade.api.process import SERVICES, ServiceState, running, status
from cascade.process import tree
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import start_detached
from deploy.nginx.front import wait_drained
from tasks.release.promotion.fronts import end_service
from tasks.release.promotion.lock import LOCK

SUFFIX = ".retire"
RETRY_SECONDS = 5.0
# kept so that Python does not complain of children that are meant to live on
_children: list[object] = []


class Retirement(ProcessRecord):
    """The process that will stop a service, and which one; `until` in seconds since 1970."""

    service: int
    until: float


def retire(noted: ServiceState, seconds: float) -> None:
    """Have a service stopped after some seconds, when requests that it still has have ended."""
    keep(noted.release)
    command = [sys.executable, "-m", "tasks.release.promotion.retire", noted.release, str(noted.pid), str(seconds)]
    child = start_detached(command, SERVICES / f"{noted.release}.retire.log")
    _children.append(child)
    note = SERVICES / f"{noted.release}{SUFFIX}"
    Retirement(
        pid=child.pid,
        started=tree.started_at(child.pid) or 0.0,
        folder=folder_of(note),
        service=noted.pid,
        until=time.time() + seconds,
    ).write(note)


def keep(release: str) -> None:
    """End the process that would stop a release's service: it is live again, or another one takes over."""
    note = SERVICES / f"{release}{SUFFIX}"
    found = read(note, Retirement)
    if found and found.belongs_to(note) and (process := found.process()):
        tree.end_process(process, 0.0)
    note.unlink(missing_ok=True)


def keep_all() -> None:
    """End all those processes of this folder."""
    for note in SERVICES.glob(f"*{SUFFIX}"):
        keep(note.stem)


def is_warm(noted: ServiceState) -> bool:
    """Whether a service is kept for a rollback: somebody will stop it."""
    note = SERVICES / f"{noted.release}{SUFFIX}"
    found = read(note, Retirement)
    return bool(found and found.belongs_to(note) and found.service == noted.pid and found.process())


def end_strays() -> None:
    """Stop the services that are neither live nor kept warm: of promotions that were killed. Under the lock."""
    live = status()
    for one in running():
        if (live is None or one.pid != live.pid) and not is_warm(one):
            end_service(one)
    for note in SERVICES.glob(f"*{SUFFIX}"):
        found = read(note, Retirement)
        if found is None or found.process() is None:
            note.unlink(missing_ok=True)


def _end(release: str, pid: int) -> bool:
    """Stop the service unless it is live again; False where a promotion runs, which may be about to make it so."""
    try:
        with FileLock(LOCK, timeout=0):
            live = status()
            if live is None or live.pid != pid:
                for one in running():
                    if (one.release, one.pid) == (release, pid):
                        wait_drained()
                        end_service(one)
            return True
    except Timeout:
        return False


def main() -> None:
    """Run as `python -m tasks.release.promotion.retire RELEASE PID SECONDS`."""
    release, pid, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    time.sleep(seconds)
    while not _end(release, pid):
        time.sleep(RETRY_SECONDS)
    (SERVICES / f"{release}{SUFFIX}").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
