"""The promotion ledger: who made which release champion, when and why. Appended and synced, never rewritten."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from cascade.release.store import sync_folder

LEDGER = Path("var/ledger.jsonl")


class Promotion(BaseModel):
    """One line of the ledger: `release` took the place of `previous` (None: there was none).

    Attributes:
        when: ISO 8601, UTC.
        who: user, or what ran.
        why: the reason given.
        release: that is live since.
        previous: that was live before.
        run: id of the Prefect flow run.
        action: `promote` or `rollback`.
        transaction: id; a journal with the same one is done.
        front: `nginx` or `none`, and `drain` where the old service had to stop first.
        gate: verdict of the gate, path and sha256 of its report.
        git: commit of the code that the release was built with.
        dvc: sha256 of dvc.lock's stages.
        target: where a rollback goes to from here.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    when: str
    who: str
    why: str
    release: str
    previous: str | None
    run: str | None = None
    action: str = "promote"
    transaction: str | None = None
    front: str | None = None
    gate: dict[str, str] | None = None
    git: str | None = None
    dvc: str | None = None
    target: str | None = None

    @property
    def back(self) -> str | None:
        """Where a rollback goes to; lines of an older version, which have no transaction, know what was replaced."""
        return self.target if self.transaction else self.previous


def append(promotion: Promotion, path: Path = LEDGER) -> None:
    """Add one line and return when it is on the disk; where that fails, the line is taken away again.

    A line that a crash cut short stays as it is; the new one begins below it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = promotion.model_dump_json() + "\n"
    with path.open("ab+", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            # one write a line: O_APPEND keeps the lines of two writers apart
            text = (line if _ends_well(path) else "\n" + line).encode()
            if file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    sync_folder(path.parent)


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


def rollback_target(lines: list[Promotion]) -> str | None:
    """The release that a rollback goes to: the one that was replaced when the live one was first put there.

    After a rollback that is the next older one, not the release that was just left.
    """
    return lines[-1].back if lines else None


def target_before(lines: list[Promotion], release: str) -> str | None:
    """Where a rollback goes to once `release` is live again: what its last promotion replaced."""
    return next((line.back for line in reversed(lines) if line.release == release), None)
