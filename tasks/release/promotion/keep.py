"""Keeps the live release answering: a service or an nginx that has ended is started again as the ledger says.

Promotion starts and stops services; this mends what dies between two promotions. It changes something only under the
lock of promotion, and leaves everything alone while another holds it. PM2, or our own supervisor, keeps this process
itself running; the service and nginx are detached and outlive it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cascade.api.process import SERVICES, readiness, running, status
from cascade.config import ConfigError
from cascade.process import tree
from cascade.process.part import GIB
from deploy.nginx import front as nginx
from tasks.config import Params, load_params
from tasks.release import ledger
from tasks.release.promotion import journal
from tasks.release.promotion.doors import door
from tasks.release.promotion.errors import PROMOTION_ERRORS
from tasks.release.promotion.fronts import Front, end_service
from tasks.release.promotion.lock import LockedError

PROBE_SECONDS = 5.0  # between two questions to the live service, and two looks at its memory
WAIT_SECONDS = 0.1  # for the lock: who holds it is about to change what was seen
LONGEST_PAUSE = 30.0
Say = Callable[[str], object]


def wanted() -> str | None:
    """The release that the ledger says is live; None where none was promoted."""
    lines = ledger.read()
    return lines[-1].release if lines else None


def find_fault() -> str | None:
    """What is not as the ledger says, in words; None where all is well or nothing was promoted."""
    release, live = wanted(), status()
    if release is None:
        return None
    if journal.unfinished():
        return "a promotion or rollback was cut off"
    if live is None:
        return f"the service of release {release} has ended"
    if live.release != release:
        return f"release {live.release} is live instead of {release}"
    if live.private is not None and nginx.running() is None:
        return "nginx has ended"
    return None


@dataclass
class Probe:
    """Whether the live service answers, and how much memory it takes; asked every few seconds.

    Attributes:
        hang_seconds: without an answer until it counts as hung; 0: never.
        gib: of RAM that it may take; 0: no limit.
    """

    hang_seconds: float
    gib: float
    _next: float = field(default=0.0, init=False)
    _answered: float = field(default_factory=time.monotonic, init=False)
    _pid: int | None = field(default=None, init=False)

    def look(self) -> str | None:
        """What is wrong with the live service, in words; None where it is well, or it is too early to ask again."""
        now, live = time.monotonic(), status()
        if live is None or now < self._next:
            return None
        self._next = now + PROBE_SECONDS
        if live.pid != self._pid or readiness(live.address) is not None:
            self._pid, self._answered = live.pid, now
        if self.hang_seconds and now - self._answered > self.hang_seconds:
            return f"the service has not answered for {now - self._answered:.0f} s"
        if self.gib and (taken := tree.resident(live.pid)) > self.gib * GIB:
            return f"the service takes {taken / GIB:.2f} GiB, and {self.gib:g} is its limit"
        return None


def mend(params: Params, fault: str, say: Say, *, restart: bool = False) -> bool:
    """Put the release of the ledger live again, under the lock; False where a promotion holds it.

    Args:
        params: all of params.yaml.
        fault: what was seen, for the log.
        say: gets lines for people.
        restart: end the live service first, which hangs or takes too much memory.

    Raises:
        ServiceError, FrontError, ReleaseError: the release cannot be served.
    """
    short = params.promotion.model_copy(update={"lock_seconds": WAIT_SECONDS})
    params = params.model_copy(update={"promotion": short})
    try:
        # whoever holds the lock is at work, which is nothing to say
        with door(params, "mending by the supervisor", _quiet, strict=False) as front:
            return _restore(front, fault, say, restart=restart)
    except LockedError:
        return False


def _restore(front: Front, fault: str, say: Say, *, restart: bool) -> bool:
    release = wanted()
    if restart:
        end_service(status())
    if release is None or not (restart or find_fault()):
        # the repair of a promotion that was cut off has mended it, or another process has
        return True
    say(f"{fault}: it is started again")
    _keep_log(release)
    service = front.make_live(release)
    say(f"release {release} answers at {service.url if service else 'no address'}")
    return True


def _keep_log(release: str) -> None:
    """Put the log of a service that has ended aside: the next one writes a new one."""
    log = SERVICES / f"{release}.log"
    if log.is_file() and not any(one.release == release for one in running()):
        log.replace(SERVICES / f"{release}.crash.log")


def main() -> None:
    """Run as `python -m tasks.release.promotion.keep`, until it is ended."""
    params, pause = load_params(), 0.0
    limits = params.supervision
    margin = limits.service_margin_gib
    probe = Probe(limits.hang_seconds, params.memory.ram_gib + margin if margin else 0)
    _print(f"keeps release {wanted() or 'none'} answering")
    while True:
        fault, hung = find_fault(), probe.look()
        pause = _mended(fault or hung, pause, restart=fault is None) if fault or hung else 0.0
        time.sleep(limits.look_seconds + pause)


def _mended(fault: str | None, pause: float, *, restart: bool) -> float:
    """Mend, and give the seconds to wait before the next try: none where it is mended."""
    try:
        mend(load_params(), str(fault), _print, restart=restart)
    except (*PROMOTION_ERRORS, ConfigError, OSError, RuntimeError) as error:
        pause = min(2 * pause or 1.0, LONGEST_PAUSE)
        _print(f"{fault}, and it cannot be started again: {error}; the next try is in {pause:g} s")
        return pause
    return 0.0


def _quiet(_: str) -> None:
    """Say nothing."""


def _print(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}", flush=True)


if __name__ == "__main__":
    main()
