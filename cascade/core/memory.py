"""Memory: stages are loaded on demand, the least recently used ones leave, and the sum never passes the limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Lock
from typing import Literal

from cascade.core.measured_sizes import MeasuredSizes
from cascade.core.timeouts import StageTimeoutError
from cascade.stages.base import Stage

GIB = 1 << 30
State = Literal["absent", "loading", "loaded", "leaving"]
Step = Literal["ready", "load", "unload", "again"]
log = logging.getLogger("streetvision")


class MemoryLimitError(RuntimeError):
    """A stage cannot have the memory that it needs; the message says how much and what to change."""


class LoadError(RuntimeError):
    """A stage could not be loaded; it is not tried again for a while."""


@dataclass
class _Resident:
    """One stage and its share of the memory.

    Attributes:
        size: bytes set aside for it; an estimate until it was measured.
        measured: the largest size seen, bytes.
        users: blocks of `use` that run with it.
        last_use: number of its latest use, counted over all stages.
        failed_at: when loading failed, of the manager's clock; `failure` says how.
    """

    stage: Stage
    size: int
    pinned: bool
    state: State = "absent"
    users: int = 0
    last_use: int = 0
    measured: int = 0
    failed_at: float = float("-inf")
    failure: str = ""

    @property
    def may_leave(self) -> bool:
        return self.state == "loaded" and not self.users and not self.pinned


class MemoryManager:
    """The stages that share one kind of memory, in bytes. `use` may be called from several threads at once."""

    def __init__(
        self,
        limit: int,
        *,
        kind: str = "RAM",
        sizes: MeasuredSizes | None = None,
        prefix: str = "",
        retry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit, self.kind = limit, kind
        self._sizes, self._prefix = sizes or MeasuredSizes(None), prefix
        self._retry, self._clock = retry_seconds, clock
        self._residents: dict[str, _Resident] = {}
        self._uses = 0
        # guards the residents; notified whenever one of them changes
        self._changed = Condition()
        # one loads or unloads at a time, since resident memory is measured for the whole process
        self._loading = Lock()

    def add(self, stage: Stage, estimate: int, *, pinned: bool = False) -> None:
        """Make a stage known; a size measured by an earlier start replaces the estimate. Pinned ones never leave."""
        size = self._sizes.read().get(self._prefix + stage.name, estimate)
        self._residents[stage.name] = _Resident(stage, size, pinned)

    @property
    def used(self) -> int:
        """Bytes set aside for the stages that are loaded, being loaded or leaving."""
        with self._changed:
            return self._used()

    def check(self) -> None:
        """Refuse stages that cannot fit: each must have room beside the pinned ones.

        Raises:
            MemoryLimitError: names the stage, its size and the limit.
        """
        for resident in self._residents.values():
            self._check_fits(resident)

    def has_room(self, name: str) -> bool:
        """Whether a stage fits beside what is loaded, so that loading it evicts no other stage."""
        with self._changed:
            resident = self._residents[name]
            return resident.state != "absent" or self._used() + resident.size <= self.limit

    def loaded(self) -> list[str]:
        """Names of the stages that are loaded."""
        with self._changed:
            return [name for name, resident in self._residents.items() if resident.state == "loaded"]

    @contextmanager
    def use(self, name: str, seconds: float = float("inf")) -> Iterator[Stage]:
        """Give a loaded stage that is not evicted before the block ends.

        Args:
            name: of a stage that was added.
            seconds: how long to wait for memory that others use.

        Raises:
            MemoryLimitError: it does not fit, or the memory did not become free in time.
            StageTimeoutError: it was loaded too late.
            LoadError: it could not be loaded, now or less than `retry_seconds` ago.
        """
        resident = self._residents[name]
        deadline = self._clock() + seconds
        self._acquire(resident, deadline)
        try:
            if self._clock() >= deadline:
                raise StageTimeoutError(f"the {name} was loaded too late for this call")
            yield resident.stage
        finally:
            with self._changed:
                resident.users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Unload everything that is not in use."""
        for resident in self._residents.values():
            with self._changed:
                idle = resident.state == "loaded" and not resident.users
                resident.state = "leaving" if idle else resident.state
            if idle:
                self._unload(resident)

    def _acquire(self, resident: _Resident, deadline: float) -> None:
        """Load a stage, and unload others until it fits; on return it counts one user more."""
        while True:
            with self._changed:
                step, other = self._next(resident, deadline)
            if step == "ready":
                return
            if step == "load":
                self._load(resident)
            elif step == "unload" and other is not None:
                self._unload(other)

    def _next(self, resident: _Resident, deadline: float) -> tuple[Step, _Resident | None]:
        """Decide under the lock what comes next for a stage, and mark it, so that one thread alone does it."""
        if resident.state == "loaded":
            self._uses += 1
            resident.last_use = self._uses
            resident.users += 1
            return "ready", None
        if self._clock() >= deadline:
            raise MemoryLimitError(f"no {self.kind} became free in time for the {resident.stage.name}")
        if resident.state == "absent":
            self._refuse(resident)
            if self._used() + resident.size <= self.limit:
                resident.state = "loading"
                return "load", None
            if idle := [other for other in self._residents.values() if other.may_leave]:
                oldest = min(idle, key=lambda other: other.last_use)
                oldest.state = "leaving"
                return "unload", oldest
        self._changed.wait(min(max(deadline - self._clock(), 0.0), 1.0))
        return "again", None

    def _refuse(self, resident: _Resident) -> None:
        if self._clock() - resident.failed_at < self._retry:
            raise LoadError(resident.failure)
        self._check_fits(resident)

    def _load(self, resident: _Resident) -> None:
        """Load and measure. A stage that turns out too large is unloaded at once, and its real size is kept."""
        name = resident.stage.name
        try:
            with self._loading:
                resident.stage.load()
        except BaseException as error:
            with self._changed:
                resident.state, resident.failed_at = "absent", self._clock()
                resident.failure = f"the {name} cannot be loaded: {error}"
                self._changed.notify_all()
            if isinstance(error, Exception):
                raise LoadError(resident.failure) from error
            raise
        with self._changed:
            # never less than seen before, so that a size at the limit does not go in and out for ever
            resident.measured = max(resident.measured, resident.stage.memory_bytes)
            resident.size = resident.measured or resident.size
            fits = self._used() <= self.limit
            resident.state = "loaded" if fits else "leaving"
            self._changed.notify_all()
        self._sizes.note(self._prefix + name, resident.size)
        if not fits:
            self._unload(resident)

    def _unload(self, resident: _Resident) -> None:
        """Unload a stage that was marked as leaving; its memory counts as used until it is gone."""
        try:
            with self._loading:
                resident.stage.unload()
        except Exception:
            log.exception("the %s failed to unload", resident.stage.name)
        with self._changed:
            resident.state = "absent"
            self._changed.notify_all()

    def _used(self) -> int:
        return sum(resident.size for resident in self._residents.values() if resident.state != "absent")

    def _check_fits(self, resident: _Resident) -> None:
        """Refuse a stage that has no room beside the pinned ones, whatever else leaves."""
        need = resident.size + sum(
            other.size for other in self._residents.values() if other.pinned and other is not resident
        )
        if need > self.limit:
            key = "memory.gpu_gib" if self.kind == "GPU memory" else "memory.ram_gib"
            raise MemoryLimitError(
                f"the {resident.stage.name} needs {need / GIB:.1f} GiB of {self.kind} with what stays loaded, "
                f"of {self.limit / GIB:.1f}; raise {key}, or switch the stage off"
            )
