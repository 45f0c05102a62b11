"""What every check gives: findings, and the pictures that people should look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
SHOWN = 5


@dataclass(frozen=True)
class Doubt:
    """A picture for the contact sheet.

    Attributes:
        sha256: of its file.
        caption: what is doubtful about it, in a few words.
        other: whether it is of the set that is compared with.
    """

    sha256: str
    caption: str
    other: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that people should know.

    Attributes:
        level: errors make the command fail.
        check: which one found it.
        message: one or two sentences, with what to do.
        doubts: pictures that show it.
    """

    level: Level
    check: str
    message: str
    doubts: tuple[Doubt, ...] = ()


def listed(names: list[str]) -> str:
    """The first names of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.1f} %"
