"""Notes on disk by which another process finds one that runs; each belongs to the folder that it was written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from cascade.process import tree

Record = TypeVar("Record", bound="ProcessRecord")


class ProcessRecord(BaseModel):
    """A process that was started from a folder.

    A copy of the folder brings the note along and not the process, so the note names its folder. `started` (seconds
    after boot) tells the process from a later one with the same id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    pid: int
    started: float
    folder: str

    def process(self) -> psutil.Process | None:
        """The process, None where it has ended."""
        return tree.find(self.pid, self.started)

    def belongs_to(self, path: Path) -> bool:
        """Whether the note was written to this path, and is no copy."""
        return self.folder == folder_of(path)

    def write(self, path: Path) -> Self:
        """Write the note; a reader finds the old one or the new one."""
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
        return self


def folder_of(path: Path) -> str:
    """What a note at this path gives as its folder: absolute, without links."""
    return str(path.parent.resolve())


def read(path: Path, kind: type[Record]) -> Record | None:
    """Read a note; None where there is none, or it is no note of this kind."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None
