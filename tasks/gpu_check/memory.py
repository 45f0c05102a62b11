"""Memory of this process as the driver sees it: context, libraries and all that torch has reserved."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
from typing import Any

from tasks.gpu_check.work import Work

GIB = 1 << 30
SECONDS = 8.0


def used_by_others() -> int:
    """Bytes of the card that are in use before this process has touched it; 0 where nvidia-smi does not say."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", visible]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        return int(done.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def driver_peak(cuda: Any, others: int) -> int:
    """Most bytes that this process took of the card so far.

    torch keeps the most that it has reserved. What it does not count (the context, kernels and libraries) only grows,
    so that its present size is its largest.

    Args:
        cuda: `torch.cuda`.
        others: bytes of other processes.
    """
    return int(cuda.max_memory_reserved()) + _beside_torch(cuda, others)


def driver_now(cuda: Any, others: int) -> int:
    """Bytes that this process takes of the card now; arguments as in `driver_peak`."""
    return int(cuda.memory_reserved()) + _beside_torch(cuda, others)


def _beside_torch(cuda: Any, others: int) -> int:
    free, total = cuda.mem_get_info()
    return max(0, int(total) - int(free) - others - int(cuda.memory_reserved()))


class Meter:
    """Memory of one check; made before anything else touches the card."""

    def __init__(self, work: Work) -> None:
        self._on_card = work.device == "cuda"
        self._others = used_by_others() if self._on_card else 0

    def restart(self) -> None:
        """Count from here on, after what can be freed was freed: building random weights is no part of a stage."""
        if not self._on_card:
            return
        _free()
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak_gib(self) -> float:
        """Most since `restart`; on a processor since the process began."""
        if not self._on_card:
            # Linux counts in KiB
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
        import torch

        return driver_peak(torch.cuda, self._others) / GIB

    def now_gib(self) -> float | None:
        """At present, after what can be freed was freed; None on a processor."""
        if not self._on_card:
            return None
        _free()
        import torch

        return driver_now(torch.cuda, self._others) / GIB


def _free() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()
