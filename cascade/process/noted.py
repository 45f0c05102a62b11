"""A supervised server with a note on disk, by which a later run finds what is left where its guard was killed too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cascade.process import tree
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import SECONDS, Supervised

NOTE, LOG = ".process.json", ".log"


class OwnedRecord(ProcessRecord):
    """A process and its owner, who ends it; `owner_started` is in seconds after boot."""

    owner: int
    owner_started: float


class NotedProcess:
    """A server's process. Two programs may run one each under the same name: blue and green beside each other.

    Args:
        folder: takes the note, which names the process and its owner while it lives, and the log.
        name: of the server.
        seconds: that it may take to end before it is killed.
    """

    def __init__(self, folder: Path, name: str, seconds: float = SECONDS) -> None:
        self._folder, self._name, self._seconds = folder, name, seconds
        self._note = folder / f"{name}.{os.getpid()}{NOTE}"
        self.log = folder / f"{name}.{os.getpid()}{LOG}"
        self._child: Supervised | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the command, None where nothing was started."""
        return self._child.pid if self._child else None

    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._child is not None and self._child.alive()

    def poll(self) -> int | None:
        """Its exit code; None while it or a descendant runs, and where nothing was started."""
        return self._child.poll() if self._child else None

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start, after ending what programs that are gone left; raises OSError where the program cannot be run."""
        self.end_leftovers()
        self._child = Supervised(command, env=environment, log=self.log, seconds=self._seconds)
        OwnedRecord(
            pid=self._child.pid,
            started=self._child.started or 0.0,
            folder=folder_of(self._note),
            owner=os.getpid(),
            owner_started=tree.started_at(os.getpid()) or 0.0,
        ).write(self._note)

    def stop(self) -> None:
        """End the command and its descendants; none is left when this returns. See `Supervised.stop`."""
        if self._child is None:
            return
        self._child.stop()
        self._child = None
        self._note.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """Kill the processes whose owner is gone, or is this program and has forgotten them; remove their notes."""
        for note in self._folder.glob(f"{self._name}.*{NOTE}"):
            found = read(note, OwnedRecord)
            if found and found.belongs_to(note):
                if found.owner != os.getpid() and tree.find(found.owner, found.owner_started):
                    continue
                tree.end_session(found.pid, found.started, 0.0)
            note.unlink(missing_ok=True)
            if note != self._note:
                note.with_name(note.name.removesuffix(NOTE) + LOG).unlink(missing_ok=True)
