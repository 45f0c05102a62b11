"""Memory of a card by a double of its driver's library: no GPU is at hand where these tests run."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cascade.process import card
from cascade.process.card import CardMemory, card_memory, return_unused
from cascade.process.memory import Meter

GIB = 1 << 30


class Nvml:
    """NVML over two cards; `used` and `own` are set by a test, `own` by process number."""

    def __init__(self) -> None:
        self.used, self.own, self.asked = 3 * GIB, dict[int, int | None](), list[Any]()

    def nvmlInit(self) -> None:
        """Begin."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> Any:
        self.asked.append(name)
        return name

    def nvmlDeviceGetMemoryInfo(self, _: Any) -> Any:
        return SimpleNamespace(used=self.used, total=24 * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, _: Any) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.own.items()]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    double = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", double)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return double


@pytest.mark.parametrize(
    ("visible", "asked"),
    [
        (None, 0),
        ("", 0),
        # CUDA's first card is the driver's second
        ("1,0", 1),
        ("GPU-8d1c,GPU-2f", "GPU-8d1c"),
    ],
)
def test_the_card_is_the_one_that_cuda_sees_first(
    nvml: Nvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, asked: Any
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert card_memory() == CardMemory(3 * GIB, 24 * GIB)
    assert nvml.asked == [asked]


@pytest.mark.parametrize(
    ("listed", "own"),
    [
        ({os.getpid(): 2 * GIB, 1: GIB}, 2 * GIB),
        # in a container the driver may list other numbers, or no sizes
        ({1: GIB}, None),
        ({os.getpid(): None}, None),
        ({}, None),
    ],
)
def test_a_process_is_told_from_others_where_the_driver_can(nvml: Nvml, listed: dict[int, Any], own: Any) -> None:
    nvml.own = listed
    assert card_memory() == CardMemory(3 * GIB, 24 * GIB, own)


def test_processes_of_a_server_are_added(nvml: Nvml) -> None:
    nvml.own = {7: GIB, 8: 5 * GIB, 9: GIB}
    found = card_memory([7, 8])
    assert found is not None
    assert found.own == 6 * GIB


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        # (used on the card, own): the process is listed from its first context on
        ((3, None), (9, 2), 2),
        ((3, 1), (9, 4), 3),
        # never listed: all that the card has more
        ((3, None), (9, None), 6),
        # others gave back more than this one took
        ((9, None), (3, None), 0),
    ],
)
def test_what_a_process_takes_more(nvml: Nvml, before: Any, after: Any, taken: int) -> None:
    def set_to(used: int, own: int | None) -> None:
        nvml.used, nvml.own = used * GIB, {} if own is None else {os.getpid(): own * GIB}

    set_to(*before)
    meter = Meter("cuda")
    set_to(*after)
    assert meter.taken() == taken * GIB


def test_in_ram_the_process_is_measured() -> None:
    meter = Meter("cpu")
    block = bytearray(os.urandom(1 << 20) * 64)
    assert meter.taken() >= 48 << 20
    assert len(block) == 64 << 20


@pytest.mark.parametrize("there", [True, False])
def test_without_nvml_torch_says_it_and_without_a_card_nobody(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    cuda = SimpleNamespace(is_available=lambda: there, mem_get_info=lambda: (20 * GIB, 24 * GIB))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert card_memory() == (CardMemory(4 * GIB, 24 * GIB) if there else None)
    if not there:
        # a stage that was to compute there fails by itself; its size stays unknown
        monkeypatch.setattr(card, "return_unused", lambda: None)
        monkeypatch.setattr("cascade.process.memory.return_unused", lambda: None)
        assert Meter("cuda").taken() == 0


@pytest.mark.parametrize("begun", [True, False])
def test_what_torch_keeps_without_use_goes_back(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    calls: list[str] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: begun,
        empty_cache=lambda: calls.append("empty_cache"),
        ipc_collect=lambda: calls.append("ipc_collect"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    return_unused()
    # a context that nobody has would be made by the call
    assert calls == (["empty_cache", "ipc_collect"] if begun else [])
