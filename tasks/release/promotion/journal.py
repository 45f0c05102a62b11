"""The journal of the transaction that runs: what it changes, and how far it came. A closed journal is no file.

The first line is on the disk before anything is changed, and holds all that a repair needs. The lines below it are for
people.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cascade.release.store import sync_folder

JOURNAL = Path("var/promotion.journal")
Action = Literal["promote", "rollback"]


class Intent(BaseModel):
    """What a transaction is about to change: `old` is live, `new` shall be.

    Attributes:
        transaction: its id, which its line of the ledger repeats. With that line it is done, without it undone.
        aliases: version of MLflow by alias, as they were; None: MLflow was not asked.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    transaction: str
    action: Action
    old: str | None
    new: str
    when: str
    aliases: dict[str, str] | None = None


class Journal:
    """The journal of one transaction. Written before the step that it names, and closed when all is done or undone."""

    def __init__(self, intent: Intent, path: Path = JOURNAL) -> None:
        self.intent, self._path = intent, path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._append(intent.model_dump_json(), new=True)
        sync_folder(path.parent)

    def note(self, step: str, state: str) -> None:
        """Add a line and return when it is on the disk; raises OSError where the disk is full."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(json.dumps({"step": step, "state": state, "when": now}))

    def note_if_possible(self, step: str, state: str) -> None:
        """Add a line; an undo goes on without it."""
        with suppress(OSError):
            self.note(step, state)

    def close(self) -> None:
        """Remove the file: there is nothing to repair."""
        close(self._path)

    def _append(self, line: str, *, new: bool = False) -> None:
        with self._path.open("wb" if new else "ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def unfinished(path: Path = JOURNAL) -> Intent | None:
    """What a transaction that was killed was about to change; None where none was, or nothing was changed yet."""
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        # a line without its end was not synced, and nothing is begun before that
        return Intent.model_validate_json(first) if first.endswith("\n") else None
    except (FileNotFoundError, ValidationError):
        return None


def close(path: Path = JOURNAL) -> None:
    """Remove the journal."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)
