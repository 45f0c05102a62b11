"""Disks in memory that can be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A disk in memory of a few bytes under a folder; gives False where only root may mount one, and we are not."""
    folder.mkdir(parents=True)
    mounted = os.getuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        yield mounted
    finally:
        if mounted:
            # processes that began here may outlive the test by a moment
            subprocess.check_call(["umount", "--lazy", str(folder)])


@contextmanager
def filled(folder: Path, spare: int) -> Iterator[None]:
    """Fill the disk under a folder until so many bytes are free; what was left of that is free again afterwards."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - spare))
    try:
        yield
    finally:
        filler.unlink()
