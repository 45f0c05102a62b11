"""Memory of the graphics card as its driver counts it: CUDA contexts, weights, and what a library keeps for later.

NVML is asked, which needs no CUDA context and so takes no memory itself; torch where NVML is not installed. A process
is told from others by its number, which a driver may not give: in a container, for example. Then the difference on the
whole card is taken, and what other processes took meanwhile is part of it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CardMemory:
    """Bytes of the card that this process sees first.

    Attributes:
        used: by anybody.
        total: of the card.
        own: by some processes; None where the driver does not list them.
    """

    used: int
    total: int
    own: int | None = None


def card_memory(pids: Collection[int] | None = None) -> CardMemory | None:
    """Ask the driver; None without a card that answers.

    Args:
        pids: processes whose share is `own`; by default this one.
    """
    return _by_nvml(set(pids) if pids is not None else {os.getpid()}) or _by_torch()


def _by_nvml(pids: set[int]) -> CardMemory | None:
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handle = _handle(nvml)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return CardMemory(int(memory.used), int(memory.total), _own(nvml, handle, pids))
    except Exception:
        # no package, no driver, or no right to ask it: its errors share no base class but this
        return None


def _handle(nvml: Any) -> Any:
    """The card that CUDA numbers 0: NVML counts all cards, CUDA those of CUDA_VISIBLE_DEVICES, by number or by UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first and not first.isdigit():
        return nvml.nvmlDeviceGetHandleByUUID(first)
    return nvml.nvmlDeviceGetHandleByIndex(int(first or 0))


def _own(nvml: Any, handle: Any, pids: set[int]) -> int | None:
    listed = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    found = [one.usedGpuMemory for one in listed if one.pid in pids]
    return sum(found) if found and None not in found else None


def _by_torch() -> CardMemory | None:
    try:
        import torch

        if not torch.cuda.is_available():
            return None
        free, total = torch.cuda.mem_get_info()
    except (ImportError, RuntimeError):
        return None
    return CardMemory(int(total - free), int(total))


def return_unused() -> None:
    """Give the driver back what torch keeps of the card without use, and what other processes shared with this one."""
    import gc
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    # a model's layers refer to each other in circles
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.ipc_collect()
