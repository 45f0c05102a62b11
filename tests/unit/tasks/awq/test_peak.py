"""The most memory that a checkpoint took: in RAM by the kernel, on a card by its driver."""

from __future__ import annotations

import os

import pytest

from cascade.process.card import CardMemory
from tasks.awq.reading import _peak_of


def test_on_a_card_it_is_the_drivers_count(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([CardMemory(5 << 30, 24 << 30), CardMemory(25 << 30, 24 << 30, 19 << 30)])
    monkeypatch.setattr("cascade.process.memory.card_memory", lambda *_: next(counted))
    peak = _peak_of("cuda")
    # RAM that was taken meanwhile is none of it
    block = bytearray(os.urandom(1 << 20) * 32)
    assert (peak(), len(block)) == (19 << 30, 32 << 20)


def test_on_a_processor_what_was_given_back_counts_too() -> None:
    peak = _peak_of("cpu")
    block = bytearray(os.urandom(1 << 20) * 64)
    del block
    assert peak() >= 48 << 20
