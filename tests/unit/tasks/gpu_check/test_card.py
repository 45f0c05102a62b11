"""The card and its meter, with stand-ins for what torch says of CUDA."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.gpu_check import memory
from tasks.gpu_check.card import NoCardError, read_card
from tasks.gpu_check.memory import GIB, Meter
from tasks.gpu_check.timing import half
from tasks.gpu_check.work import Work
from tests.support.nvidia_smi import card, write_nvidia_smi


def answer(monkeypatch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    monkeypatch.setattr(torch.cuda, name, lambda *_: value)


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (False, "is a build without CUDA"),
        (True, "sees no CUDA device: `nvidia-smi` must list a card"),
    ],
)
def test_no_card(built: bool, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    answer(monkeypatch, "is_available", False)
    with pytest.raises(NoCardError, match=words):
        read_card()


def test_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    answer(monkeypatch, "is_available", True)
    answer(monkeypatch, "mem_get_info", (70 * GIB, 79 * GIB))
    answer(monkeypatch, "get_device_properties", SimpleNamespace(name="NVIDIA H100", major=9, minor=0))
    found = read_card()
    assert (found.name, found.gib, found.free_gib, found.capability) == ("NVIDIA H100", 79, 70, "9.0")


def test_the_meter_counts_from_its_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of 24 GiB, of which another process has 2, this one's context 1 and torch 10, after 20 while it built."""
    monkeypatch.setenv("PATH", str(write_nvidia_smi(tmp_path / "bin", [card("L4", 24 << 10, 2 << 10)])))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    reserved = {"now": 10 * GIB, "most": 20 * GIB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (24 * GIB - 3 * GIB - reserved["now"], 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: reserved["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: reserved["most"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: reserved.update(most=reserved["now"]))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: reserved.update(now=min(reserved["now"], 4 * GIB)))
    meter = Meter(Work(None, "cuda", False, tmp_path))  # type: ignore[arg-type]
    assert meter.peak_gib() == 21
    meter.restart()
    assert meter.peak_gib() == 5
    assert meter.now_gib() == 5


def test_on_a_processor_the_meter_asks_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "used_by_others", lambda: pytest.fail("a card was asked"))
    meter = Meter(Work(None, "cpu", True, tmp_path))  # type: ignore[arg-type]
    meter.restart()
    assert 0 < meter.peak_gib() < 1024
    assert meter.now_gib() is None


@pytest.mark.parametrize(("device", "kind"), [("cpu", "nullcontext"), ("cuda", "autocast")])
@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_bf16_on_a_card_alone(device: Any, kind: str, tmp_path: Path) -> None:
    found = half(Work(None, device, True, tmp_path))  # type: ignore[arg-type]
    assert type(found).__name__ == kind
    if kind == "autocast":
        assert not found._cache_enabled  # type: ignore[attr-defined]
