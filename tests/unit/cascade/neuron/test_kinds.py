"""Challenges and organic requests told apart by labels and dendrites."""

from __future__ import annotations

import uuid

import pytest

from cascade.neuron.kinds import DENDRITES, HOTKEYS, WINDOW_SECONDS, Kinds


def dendrite(made: int, machine: int = 0x0242AC110002) -> str:
    """UUID of version 1 of a moment, as `uuid.uuid1` makes it."""
    fields = made & 0xFFFFFFFF, (made >> 32) & 0xFFFF, ((made >> 48) & 0x0FFF) | 0x1000, 0x80, 0, machine
    return str(uuid.UUID(fields=fields))


# made in this order; the first is the validator's own
A, B, C, D = (dendrite(10**15 + step) for step in (0, 10, 20, 30))
ELSEWHERE = dendrite(10**15 + 5, machine=7)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # one dendrite alone tells nothing, however often it comes
        ([A, A, A], ["unknown"] * 3),
        # side by side: the older sends challenges
        ([A, B, A, B], ["unknown", "unknown", "synthetic", "organic"]),
        # the younger one was seen first
        ([B, A, B], ["unknown", "synthetic", "organic"]),
        # after a restart a new one takes the place of the old one, which is seen no more
        ([A, C, C, C], ["unknown"] * 4),
        # and with its own proxy it is the older of two
        ([A, C, D, C, D], ["unknown", "unknown", "unknown", "synthetic", "organic"]),
        # proxy and distributor are both younger than the first
        ([A, B, C, A, B, C], ["unknown", "unknown", "unknown", "synthetic", "organic", "organic"]),
        # a validator with two machines: dendrites of different machines are not compared
        ([A, ELSEWHERE, A, ELSEWHERE], ["unknown"] * 4),
        # no UUID of version 1
        ([None, "", "x", str(uuid.UUID(int=5)), "4f6e1d1e-6a38-4c0e-9a40-1b1f3f9d8a11"], ["unknown"] * 5),
    ],
)
def test_dendrites_tell_it(names: list[str | None], expected: list[str]) -> None:
    kinds = Kinds()
    assert [kinds.kind("hotkey", name, -1) for name in names] == expected


@pytest.mark.parametrize(("label", "expected"), [(0, "synthetic"), (1, "synthetic"), (-1, "unknown"), (7, "unknown")])
def test_a_label_is_a_challenges(label: int, expected: str) -> None:
    assert Kinds().kind("hotkey", A, label) == expected


def test_hotkeys_are_not_mixed() -> None:
    kinds = Kinds()
    assert [kinds.kind(*one, -1) for one in (("x", A), ("y", B), ("x", A), ("y", B))] == ["unknown"] * 4


def test_a_dendrite_that_was_not_used_for_long_is_gone() -> None:
    now = 0.0
    kinds = Kinds(clock=lambda: now)
    kinds.kind("hotkey", A, -1)
    kinds.kind("hotkey", B, -1)
    now = WINDOW_SECONDS + 1
    assert kinds.kind("hotkey", A, -1) == "unknown"


def test_memory_is_bounded() -> None:
    kinds = Kinds()
    for number in range(HOTKEYS + 2):
        for made in range(DENDRITES + 2):
            kinds.kind(f"hotkey {number}", dendrite(made), -1)
    assert len(kinds._seen) == HOTKEYS
    assert {len(one) for one in kinds._seen.values()} == {DENDRITES}
