"""One release in the place of another: the steps, each with its undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cascade.api.process import ServiceState, status
from cascade.release.store import RELEASES, Release, point_champion
from deploy.nginx.front import Routes
from tasks.config import Params
from tasks.config.promotion import WatchParams
from tasks.release import ledger
from tasks.release.ledger import Promotion
from tasks.release.promotion.fronts import Front, NginxFront, end_service
from tasks.release.promotion.journal import Intent
from tasks.release.promotion.repair import put_aliases_back
from tasks.release.promotion.transaction import Step
from tasks.release.promotion.watch import Seen, compare_golden, shadow_report, watch
from tasks.release.registry import move_champion
from tasks.release.smoke_test import GoldenImage, SmokeTestError
from tasks.release.tracking import RegisterError

# from the kill of a service, whose connections break first, to the end of its process
DEATH_SECONDS = 2.0
Say = Callable[[str], object]


@dataclass
class Swap:
    """The state of one transaction.

    Attributes:
        params: all of params.yaml.
        front: nginx or none.
        new: the release that shall be live, verified.
        old: id of the one that is; None for the first.
        intent: as the journal has it.
        line: for the ledger, once all is done.
        images: golden images.
        drain: the old service stops before the new one starts.
        say: gets lines for people.
        strict: a release that was never live is looked at by shadow and canary, and MLflow must follow.
    """

    params: Params
    front: Front
    new: Release
    old: str | None
    intent: Intent
    line: Promotion
    images: Sequence[GoldenImage]
    drain: bool
    say: Say
    strict: bool
    blue: ServiceState | None = field(init=False)
    green: ServiceState | None = field(init=False, default=None)
    started: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        live = status()
        self.blue = live if live and self.old and live.release == self.old else None

    def steps(self) -> list[Step]:
        """In this order; see docs/promotion.md."""
        split = self.strict and self.front.splits and self.blue is not None and not self.drain
        wanted = self.params.promotion
        return [
            *([Step("drain", self.front.pause, self._restore_old)] if self.drain else []),
            Step("green", self._start_green, self._undo_green),
            Step("golden", self._golden),
            *([Step("shadow", self._shadow, self._restore_old)] if split and wanted.shadow_seconds else []),
            *([Step("canary", self._canary, self._restore_old)] if split and wanted.canary.steps else []),
            Step("switch", self._switch, self._restore_old),
            Step("watch", self._watch),
            Step("pointer", lambda: point_champion(RELEASES, self.new.id), self._point_back),
            Step("alias", self._alias, self._alias_back),
            # the last one: with this line the transaction is done, without it undone
            Step("ledger", lambda: ledger.append(self.line)),
        ]

    def _start_green(self) -> None:
        before = status()
        self.green = self.front.prepare(self.new, alone=self.drain or self.blue is None)
        self.started = before is None or before.pid != self.green.pid
        self.say(f"release {self.new.id} is ready at {self.green.address}")

    def _undo_green(self) -> None:
        live = status()
        if self.green and self.started and (live is None or live.pid != self.green.pid):
            end_service(self.green)
        # nobody else starts it again before the next run
        if self.blue and _has_ended(self.blue, 0.0):
            self._restore_old()

    def _golden(self) -> None:
        # who goes back need not agree with what is left
        old = self.blue if self.strict and self.blue and not _has_ended(self.blue, 0.0) else None
        try:
            share = self._agreement(old)
        except SmokeTestError:
            if old is None or not _has_ended(old, DEATH_SECONDS):
                raise
            # it died while it was asked, and the new one is all there is
            share = self._agreement(None)
        beside = "" if share is None else f"; {share:.0%} with the old release's label"
        self.say(f"{len(self.images)} golden images answered{beside}")

    def _agreement(self, old: ServiceState | None) -> float | None:
        wanted = self.params.promotion.watch
        return compare_golden(self._green.address, old.address if old else None, self.new.id, self.images, wanted)

    def _shadow(self) -> None:
        front, blue, green = self._split()
        front.route(Routes(live=(blue.port,), candidate=green.port, shadow=True, log=True))
        seen = self._look([green, blue], self.params.promotion.shadow_seconds)
        for release, one in seen.items():
            self.say(f"shadow, release {release}: {one}")
        self.say(f"shadow: {shadow_report(self.params.cache.folder, green.release, blue.release, self._watching)}")

    def _canary(self) -> None:
        front, blue, green = self._split()
        canary = self.params.promotion.canary
        for percent in canary.steps:
            front.route(Routes(live=(blue.port,), candidate=green.port, canary_percent=percent, log=True))
            seen = self._look([green, blue], canary.seconds, ratio=canary.max_latency_ratio)
            self.say(f"canary {percent} %: {seen[green.release]}; the old release: {seen[blue.release]}")

    def _switch(self) -> None:
        self.green = self.front.switch(self._green, self.new, self.blue)
        self.say(f"release {self.new.id} answers at {self.green.url}")

    def _watch(self) -> None:
        seen = self._look([self._green], self.params.promotion.watch.seconds if self.strict else 0.0)
        self.say(f"watch: {seen[self.new.id]}")

    def _look(self, services: list[ServiceState], seconds: float, ratio: float | None = None) -> dict[str, Seen]:
        front = self.front
        log = front.nginx.access_log if isinstance(front, NginxFront) else None
        url = front.nginx.url if isinstance(front, NginxFront) else self._green.url
        return watch(url, services, self.images, self._watching, seconds=seconds, log=log, ratio=ratio)

    def _alias(self) -> None:
        try:
            move_champion(self.params, self.new.id)
        except RegisterError as error:
            if self.strict:
                raise
            # somebody who goes back must not be kept from it by MLflow
            self.say(f"MLflow's alias `champion` stays as it is: {error}")

    def _alias_back(self) -> None:
        put_aliases_back(self.params, self.intent)

    def _point_back(self) -> None:
        point_champion(RELEASES, self.old)

    def _restore_old(self) -> None:
        self.front.make_live(self.old)

    def _split(self) -> tuple[NginxFront, ServiceState, ServiceState]:
        if not isinstance(self.front, NginxFront) or self.blue is None:
            raise TypeError("only nginx shares requests, between two services")
        return self.front, self.blue, self._green

    @property
    def _green(self) -> ServiceState:
        if self.green is None:
            raise RuntimeError("step green comes first")
        return self.green

    @property
    def _watching(self) -> WatchParams:
        return self.params.promotion.watch


def _has_ended(noted: ServiceState, seconds: float) -> bool:
    """Tell whether a service's process ends within some seconds."""
    from psutil import TimeoutExpired

    try:
        if process := noted.process():
            process.wait(seconds)
    except TimeoutExpired:
        return False
    return True
