"""Near-duplicates: within a split, across splits, with another label, and against a second set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.probability import LABELS
from tasks.data.doctor.findings import Doubt, Finding, listed
from tasks.data.examine import Facts
from tasks.data.near_duplicates import near_pairs

PAIRS = 8  # of one finding on the sheet


@dataclass(frozen=True)
class Twins:
    """Two pictures that are one.

    Attributes:
        first: of the set that is looked at.
        second: of it too, or of the set that is compared with.
        bits: in which their perceptual hashes differ.
    """

    first: Facts
    second: Facts
    bits: int

    @property
    def names(self) -> str:
        """Both names, and where they lie."""
        return f"{_where(self.first)} = {_where(self.second)}"


def find_twins(pictures: Sequence[Facts], bits: int) -> list[Twins]:
    """All pairs within a set whose hashes differ in at most `bits`, in reading order."""
    stack = _stack(pictures)
    found = [(i, j, distance) for i, j, distance in near_pairs(stack, stack, bits) if i < j]
    return [Twins(pictures[i], pictures[j], distance) for i, j, distance in found]


def find_twins_against(pictures: Sequence[Facts], others: Sequence[Facts], bits: int) -> list[Twins]:
    """All pairs of a picture of one set and one of another."""
    found = near_pairs(_stack(pictures), _stack(others), bits)
    return [Twins(pictures[i], others[j], distance) for i, j, distance in found]


def check_twins(twins: Sequence[Twins]) -> list[Finding]:
    """Pairs with two labels and pairs across splits are errors; within a split those of two places are a warning."""
    contrary = [pair for pair in twins if pair.first.label != pair.second.label]
    rest = [pair for pair in twins if pair.first.label == pair.second.label]
    across = [pair for pair in rest if pair.first.split != pair.second.split]
    within = [pair for pair in rest if pair.first.split == pair.second.split]
    places = [pair for pair in within if pair.first.place != pair.second.place]
    return [
        *_finding("error", contrary, "the same picture with both labels", "correct one of the two labels"),
        *_finding("error", across, "the same picture in two splits", "give both one place, or remove one"),
        *_finding("warning", places, "the same picture at two places of one split", "give both one place"),
    ]


def check_against(twins: Sequence[Twins], name: str) -> list[Finding]:
    """Pictures that a second set holds too: what is learnt from one must not be measured with the other."""
    return _finding(
        "error", list(twins), f"the same picture here and in {name}", "leave it out of what is trained on", other=True
    )


def _finding(level: str, pairs: list[Twins], what: str, remedy: str, *, other: bool = False) -> list[Finding]:
    if not pairs:
        return []
    doubts = [doubt for pair in pairs[:PAIRS] for doubt in _doubts(pair, other=other)]
    message = f"{what}, {len(pairs)} times: {listed([pair.names for pair in pairs])}; {remedy}"
    return [Finding("error" if level == "error" else "warning", "near-duplicates", message, tuple(doubts))]


def _doubts(pair: Twins, *, other: bool) -> tuple[Doubt, Doubt]:
    return Doubt(pair.first.sha256, _caption(pair.first)), Doubt(
        pair.second.sha256, pair.second.name if other else _caption(pair.second), other=other
    )


def _caption(one: Facts) -> str:
    return f"{_where(one)} ({LABELS[one.label]})"


def _where(one: Facts) -> str:
    return f"{one.split}: {one.name}" if one.split else one.name


def _stack(pictures: Sequence[Facts]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.array([one.thumbnail for one in pictures], dtype=np.uint8).reshape(-1, 32, 32)
