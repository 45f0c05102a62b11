"""How much memory this process takes, in RAM and on a graphics card."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from cascade.process.card import CardMemory, card_memory, return_unused

CGROUP = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Bytes of this process that lie in RAM."""
    import psutil

    return int(psutil.Process().memory_info().rss)


class Meter:
    """Measures what this process takes more of a device's memory than at the start.

    On a card the driver's count holds whatever a library keeps for its next call, so that after a call of the largest
    batch it holds the peak of activations too. What is kept without use is given back first: a stage that is loaded
    later would otherwise fill it and seem smaller than it is.

    Args:
        device: `cpu`, or whatever torch calls the card.
        pids: gives the processes that are meant, such as those of a server, where they are not this one.
    """

    def __init__(self, device: str, pids: Callable[[], Collection[int]] | None = None) -> None:
        self._device, self._pids = device, pids
        if device != "cpu":
            return_unused()
        self._resident = resident_bytes() if device == "cpu" else 0
        self._card: CardMemory | None = None if device == "cpu" else self._read()

    def taken(self) -> int:
        """Bytes more than at the start, 0 where it is less, or where no card answers."""
        if self._device == "cpu":
            return max(0, resident_bytes() - self._resident)
        before, now = self._card, self._read()
        if before is None or now is None:
            return 0
        if now.own is not None:
            # a process without a context is not listed, and takes nothing
            return max(0, now.own - (before.own or 0))
        return max(0, now.used - before.used)

    def _read(self) -> CardMemory | None:
        return card_memory(self._pids() if self._pids else None)


def available_bytes() -> int:
    """Bytes of RAM that a further process can take: of the machine, or of this container where that is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limit, used = _number(CGROUP / "memory.max"), _number(CGROUP / "memory.current")
    return free if limit is None or used is None else min(free, max(0, limit - used + _cached()))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        # no container, or `max`: no limit
        return None


def _cached() -> int:
    """Bytes of files that the kernel gives back when a process needs the memory."""
    try:
        lines = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
