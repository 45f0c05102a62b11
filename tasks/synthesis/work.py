"""The work folder: pictures that a killed run finished, kept for the next, and one run at a time in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.data.schema import ImageRow

WORK = Path("var/synthetic")
LOCK = ".lock"


@dataclass(frozen=True)
class SyntheticImage:
    """A picture that was made: its row, and how it was made (JSON)."""

    row: ImageRow
    origin: dict[str, Any]


@contextmanager
def workplace(root: Path, name: str) -> Iterator[tuple[Path, int]]:
    """Give the work folder of that name, and a descriptor that holds its lock.

    Who inherits the descriptor holds the lock too: the next run waits until the renderer of a killed one has ended.
    """
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        _take(lock, folder)
        yield folder, lock
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"synthesize: another run is at work in {folder}; waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def clear_others(root: Path, name: str) -> None:
    """Remove the work folders of other settings, once their successor's output is written."""
    for folder in root.iterdir():
        if folder.name != name and folder.is_dir() and _is_free(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)
