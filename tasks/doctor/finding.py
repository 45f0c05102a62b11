"""What a check gives: a state, a sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "error", "not asked"]
# the worst first
ORDER: tuple[State, ...] = ("error", "warning", "not asked", "ok")


@dataclass(frozen=True)
class Finding:
    """One result of a check; a check may give several.

    Attributes:
        state: `not asked` where it cannot be known here, which is no fault.
        sentence: what was found, without a full stop at its end.
        remedy: what to do; a warning or an error has one.
        check: its name; the runner fills in this one and the next.
        group: of checks.
        seconds: that the check took.
    """

    state: State
    sentence: str
    remedy: str = ""
    check: str = ""
    group: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.state in ("warning", "error") and not self.remedy:
            raise ValueError(f"{self.sentence}: a finding needs a remedy")


def ok(sentence: str) -> Finding:
    """All is well."""
    return Finding("ok", sentence)


def warning(sentence: str, remedy: str) -> Finding:
    """It works, and will not for long or not as it should."""
    return Finding("warning", sentence, remedy)


def error(sentence: str, remedy: str) -> Finding:
    """Something does not work; the exit code is 1."""
    return Finding("error", sentence, remedy)


def not_asked(sentence: str, remedy: str = "") -> Finding:
    """It cannot be known here; the sentence says why, the remedy what would make it known."""
    return Finding("not asked", sentence, remedy)
