"""The promotion ledger: who made which release champion, when and why. Appended and synced, never rewritten."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

LEDGER = Path("var/ledger.jsonl")


class Promotion(BaseModel):
    """One line of the ledger: `release` took the place of `previous` (None: there was none)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    when: str  # ISO 8601, UTC
    who: str
    why: str
    release: str
    previous: str | None
    run: str | None = None  # id of the Prefect flow run


def append(promotion: Promotion, path: Path = LEDGER) -> None:
    """Add one line and return when it is on the disk.

    A line that a crash cut short stays as it is; the new one begins below it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = promotion.model_dump_json() + "\n"
    with path.open("ab+") as file:
        # one write a line: O_APPEND keeps the lines of two writers apart
        file.write((line if _ends_well(path) else "\n" + line).encode())
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def read(path: Path = LEDGER) -> list[Promotion]:
    """All promotions, oldest first; a line that a crash cut short is passed over."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [Promotion.model_validate(json.loads(line)) for line in lines if _whole(line)]


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _ends_well(path: Path) -> bool:
    """Whether the file is empty or its last line is complete."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """A new file survives a power cut only when its folder is synced too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
