"""What a scan finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Leak:
    """A secret, without its content.

    Attributes:
        path: of the file, relative to the project's root.
        line: from 1.
        kind: in words, such as "recovery phrase of 12 words".
        commit: that has the file, where it is only in git's history.
    """

    path: str
    line: int
    kind: str
    commit: str | None = None

    def __str__(self) -> str:
        """Where and what, for people."""
        where = f" in commit {self.commit[:12]}" if self.commit else ""
        return f"{self.path}:{self.line}{where}: {self.kind}"
