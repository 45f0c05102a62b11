"""`streetvision up` and `down` in the current folder, and what they leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
from typer.testing import CliRunner, Result

from cascade.process import tree
from flows.server import down, up

Found = TypeVar("Found")


def run_up(*arguments: str) -> Result:
    """Run `streetvision up` in this process; `output` has both streams."""
    return CliRunner().invoke(up.app, [*arguments])


def run_down() -> Result:
    """Run `streetvision down` in this process."""
    return CliRunner().invoke(down.app, [])


def ours(folder: Path) -> list[str]:
    """Processes that work in a folder, less this one and its children of pytest: their command lines."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.cwd() == str(folder) and one.pid != psutil.Process().pid and tree.runs(one):
                found.append(" ".join(one.cmdline()))
        except psutil.Error:
            continue
    # of multiprocessing, which tests of promotion use
    return [line for line in found if "multiprocessing" not in line]


def wait_for(look: Callable[[], Found | None], seconds: float = 30.0) -> Found:
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)
    return found
