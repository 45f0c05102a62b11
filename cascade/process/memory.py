"""How much memory this process takes, in RAM and on a graphics card."""

from __future__ import annotations


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
