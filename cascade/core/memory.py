"""Memory: stages are loaded on demand, the least recently used ones leave, and the sum never passes the limit.

Sizes are measured when a stage is loaded and kept, so that the next start knows them beforehand.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Lock, get_ident
from typing import Literal

from cascade.stages.base import Stage

GIB = 1 << 30
SIZES = Path("var/stage-sizes.json")
State = Literal["absent", "loading", "loaded", "leaving"]
Step = Literal["ready", "load", "unload", "again"]
log = logging.getLogger("streetvision")


class MemoryLimitError(RuntimeError):
    """A stage cannot have the memory that it needs; the message says how much and what to change."""


class LoadError(RuntimeError):
    """A stage could not be loaded; it is not tried again for a while."""


@dataclass
class _Resident:
    """One stage's share. `size` is what is set aside for it: an estimate until it was measured."""

    stage: Stage
    size: int
    pinned: bool
    state: State = "absent"
    users: int = 0
    used: int = 0
    measured: int = 0
    failed_at: float = float("-inf")
    failure: str = ""


class MeasuredSizes:
    """Measured bytes by key in a JSON file, replaced in one step; without a file they are forgotten at the end."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = Lock()

    def read(self) -> dict[str, int]:
        """Give what was measured so far; a damaged file counts as none, for it is only a memory of measurements."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
        except (OSError, ValueError):
            return {}
        known = document if isinstance(document, dict) else {}
        return {str(key): value for key, value in known.items() if isinstance(value, int) and value >= 0}

    def note(self, key: str, size: int) -> None:
        """Keep a measurement."""
        if self._path is None:
            return
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_name(f".{self._path.name}.{get_ident()}")
            partial.write_text(json.dumps({**self.read(), key: size}, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(self._path)


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
        self._slots: dict[str, _Resident] = {}
        self._turn = 0
        self._changed = Condition()
        # one at a time: resident memory is measured for the whole process
        self._moving = Lock()

    def add(self, stage: Stage, estimate: int, *, pinned: bool = False) -> None:
        """Make a stage known; a size measured by an earlier start replaces the estimate. Pinned ones never leave."""
        size = self._sizes.read().get(self._prefix + stage.name, estimate)
        self._slots[stage.name] = _Resident(stage, size, pinned)

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
        pinned = sum(slot.size for slot in self._slots.values() if slot.pinned)
        for name, slot in self._slots.items():
            need = pinned + (0 if slot.pinned else slot.size)
            if need > self.limit:
                raise MemoryLimitError(self._too_large(name, need))

    def has_room(self, name: str) -> bool:
        """Whether a stage fits beside what is loaded, so that loading it evicts nobody."""
        with self._changed:
            slot = self._slots[name]
            return slot.state != "absent" or self._used() + slot.size <= self.limit

    def loaded(self) -> list[str]:
        """Names of the stages that are loaded."""
        with self._changed:
            return [name for name, slot in self._slots.items() if slot.state == "loaded"]

    @contextmanager
    def use(self, name: str, seconds: float = float("inf")) -> Iterator[Stage]:
        """Give a loaded stage that is not evicted before the block ends.

        Args:
            name: of a stage that was added.
            seconds: how long to wait for memory that others use.

        Raises:
            MemoryLimitError: it does not fit, or the memory did not become free in time.
            LoadError: it could not be loaded, now or less than `retry_seconds` ago.
        """
        slot = self._slots[name]
        deadline = self._clock() + seconds
        self._acquire(name, slot, deadline)
        try:
            if self._clock() >= deadline:
                raise MemoryLimitError(f"the {name} was loaded too late for this request")
            yield slot.stage
        finally:
            with self._changed:
                slot.users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Unload everything that nobody uses."""
        for slot in self._slots.values():
            with self._changed:
                idle = slot.state == "loaded" and not slot.users
                slot.state = "leaving" if idle else slot.state
            if idle:
                self._unload(slot)

    def _acquire(self, name: str, slot: _Resident, deadline: float) -> None:
        while True:
            with self._changed:
                step, other = self._next(name, slot, deadline)
            if step == "ready":
                return
            if step == "load":
                self._load(name, slot)
            elif step == "unload" and other is not None:
                self._unload(other)

    def _next(self, name: str, slot: _Resident, deadline: float) -> tuple[Step, _Resident | None]:
        """Decide under the lock what comes next for a stage that is wanted, and mark it, so that one thread does it."""
        if slot.state == "loaded":
            self._turn += 1
            slot.used = self._turn
            slot.users += 1
            return "ready", None
        if self._clock() >= deadline:
            raise MemoryLimitError(f"the {name} waited in vain for {self.kind} that other stages use")
        if slot.state == "absent":
            self._refuse(name, slot)
            if self._used() + slot.size <= self.limit:
                slot.state = "loading"
                return "load", None
            if idle := [one for one in self._slots.values() if _may_leave(one)]:
                victim = min(idle, key=lambda one: one.used)
                victim.state = "leaving"
                return "unload", victim
        self._changed.wait(min(max(deadline - self._clock(), 0.0), 1.0))
        return "again", None

    def _refuse(self, name: str, slot: _Resident) -> None:
        if self._clock() - slot.failed_at < self._retry:
            raise LoadError(slot.failure)
        need = slot.size + sum(one.size for one in self._slots.values() if one.pinned and one is not slot)
        if need > self.limit:
            raise MemoryLimitError(self._too_large(name, need))

    def _load(self, name: str, slot: _Resident) -> None:
        """Load and measure. One that turns out too large leaves again at once, and is then judged by its real size."""
        try:
            with self._moving:
                slot.stage.load()
        except BaseException as error:
            with self._changed:
                slot.state, slot.failed_at = "absent", self._clock()
                slot.failure = f"the {name} cannot be loaded: {error}"
                self._changed.notify_all()
            if isinstance(error, Exception):
                raise LoadError(slot.failure) from error
            raise
        with self._changed:
            # never less than seen before, so that a size at the limit does not go in and out for ever
            slot.measured = max(slot.measured, slot.stage.memory_bytes)
            slot.size = slot.measured or slot.size
            fits = self._used() <= self.limit
            slot.state = "loaded" if fits else "leaving"
            self._changed.notify_all()
        self._sizes.note(self._prefix + name, slot.size)
        if not fits:
            self._unload(slot)

    def _unload(self, slot: _Resident) -> None:
        """Unload a stage that was marked as leaving; its memory counts as used until it is gone."""
        try:
            with self._moving:
                slot.stage.unload()
        except Exception:
            log.exception("the %s failed to unload", slot.stage.name)
        with self._changed:
            slot.state = "absent"
            self._changed.notify_all()

    def _used(self) -> int:
        return sum(slot.size for slot in self._slots.values() if slot.state != "absent")

    def _too_large(self, name: str, need: int) -> str:
        key = "memory.gpu_gib" if self.kind == "GPU memory" else "memory.ram_gib"
        return (
            f"the {name} needs {need / GIB:.1f} GiB of {self.kind} with what stays loaded, of {self.limit / GIB:.1f}; "
            f"raise {key}, or switch the stage off"
        )


def _may_leave(slot: _Resident) -> bool:
    return slot.state == "loaded" and not slot.users and not slot.pinned
