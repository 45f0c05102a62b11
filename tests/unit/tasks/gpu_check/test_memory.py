"""Memory as the driver counts it, with a stand-in for CUDA's functions and for nvidia-smi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.gpu_check.memory import driver_now, driver_peak, used_by_others
from tests.support.nvidia_smi import card, write_broken, write_nvidia_smi


@dataclass
class Cuda:
    """What torch.cuda says, in whole units of memory."""

    free: int
    total: int
    reserved: int
    most: int

    def mem_get_info(self) -> tuple[int, int]:
        return self.free, self.total

    def memory_reserved(self) -> int:
        return self.reserved

    def max_memory_reserved(self) -> int:
        return self.most


@pytest.mark.parametrize(
    ("cuda", "others", "now", "peak"),
    [
        # a context of 2 and nothing else
        (Cuda(free=98, total=100, reserved=0, most=0), 0, 2, 2),
        # torch holds 10, and held 30
        (Cuda(free=88, total=100, reserved=10, most=30), 0, 12, 32),
        # another process has 50 of the card
        (Cuda(free=38, total=100, reserved=10, most=30), 50, 12, 32),
        # the other process ended meanwhile: never less than torch's own
        (Cuda(free=90, total=100, reserved=10, most=10), 50, 10, 10),
    ],
)
def test_context_and_reserved_memory_count(cuda: Cuda, others: int, now: int, peak: int) -> None:
    assert (driver_now(cuda, others), driver_peak(cuda, others)) == (now, peak)


@pytest.mark.parametrize(
    ("visible", "mib"),
    [
        # all cards: the first
        ("", 3),
        ("0", 3),
        # the one that this process may see
        ("1", 700),
        ("1,0", 700),
        # no such card: nothing is known
        ("7", 0),
    ],
)
def test_what_others_use(visible: str, mib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_nvidia_smi(tmp_path / "bin", [card("A", 24564, 3), card("B", 24564, 700)])
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert used_by_others() == mib << 20


@pytest.mark.parametrize("broken", [True, False])
def test_nobody_says_what_others_use(broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(write_broken(tmp_path / "bin") if broken else tmp_path))
    assert used_by_others() == 0
