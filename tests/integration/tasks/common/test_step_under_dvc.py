"""DVC runs a stage again after any edit in its folders of code; the step then keeps what is there, where it may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.project import DVC, edit, put, write_project

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def dvc(project: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(project),
    }
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_repro_after_an_edit(dvc_repository: Callable[[str], Path]) -> None:
    project = write_project(dvc_repository(DVC))
    kept = "its outputs are kept"

    assert kept not in dvc(project, "repro", "demo")

    # a comment: DVC runs the command, the command keeps, and DVC is content
    edit("tasks/common/files.py", "CHUNK = 1 << 20", "CHUNK = 1 << 20  # bytes")(project)
    assert kept in dvc(project, "repro", "demo")
    assert dvc(project, "status", "demo").splitlines()[-1] == "Data and pipelines are up to date."
    assert (project / "runs.txt").read_text() == "x"

    # an output that somebody touched is not taken for the step's own
    put("out/a", "by hand\n")(project)
    assert "out is not what the last run wrote" in dvc(project, "repro", "demo")
    assert (project / "out" / "a").read_text() == "text\n"
