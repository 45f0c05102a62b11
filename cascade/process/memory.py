"""How much memory this process takes, in RAM and on a graphics card."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Bytes of this process that lie in RAM."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def taken_bytes(device: str) -> int:
    """Bytes that this process takes on a device: in RAM for `cpu`, otherwise what torch has allocated with CUDA."""
    if device == "cpu":
        return resident_bytes()
    import torch

    return int(torch.cuda.memory_allocated())


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
