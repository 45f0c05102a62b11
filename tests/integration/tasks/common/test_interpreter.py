"""A step that is started with another Python than the project's: it goes on with that one, or says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

STEP = """
import sys
import argparse
from tasks.common.step import step_main

def _flags(parser):
    parser.add_argument("--new", action="store_true")

def _run(params, options):
    import numpy
    return {"prefix": sys.prefix, "new": options.new}

main = step_main("demo", _run, __doc__, flags=_flags)
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any library, as the system's."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("tasks/common", "tasks/config", "cascade"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("tasks/__init__.py", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "tasks/demo.py").write_text(STEP)
    return folder


def run(python: Path | str, project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), "-m", "tasks.demo", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bare_python_goes_on_with_the_projects_environment(bare: Path, project: Path) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    # an environment is known by the place of its `python`; this one has the libraries of the tests
    script = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    (project / ".venv/bin/python").write_text(script)
    (project / ".venv/bin/python").chmod(0o755)
    done = run(bare, project, "--new")
    assert done.returncode == 0, done.stderr
    assert '"new": true' in done.stdout
    assert sys.prefix in done.stdout
    assert f"has no pydantic; the step goes on with {project}/.venv/bin/python" in done.stderr


@pytest.mark.parametrize("broken", ["none", "dangling", "not executable", "without libraries"])
def test_without_an_environment_one_line_says_what_to_do(bare: Path, project: Path, broken: str) -> None:
    (project / ".venv/bin").mkdir(parents=True)
    if broken == "dangling":
        (project / ".venv/bin/python").symlink_to("/gone")
    if broken == "not executable":
        (project / ".venv/bin/python").touch()
    if broken == "without libraries":
        (project / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {bare} "$@"\n')
        (project / ".venv/bin/python").chmod(0o755)
    done = run(bare, project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == (2 if broken == "without libraries" else 1)
    assert f"{bare} has no pydantic" in line
    assert "`make env`" in line


def test_a_library_of_an_extra_is_named_with_its_extra(project: Path) -> None:
    (project / "tasks/demo.py").write_text(
        STEP.replace("import numpy", 'raise ModuleNotFoundError("torch", name="torch")')
    )
    done = run(sys.executable, project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("demo: this step needs the extra")
    assert "uv sync" in done.stderr


def test_a_module_that_no_extra_brings_is_a_defect(project: Path) -> None:
    (project / "tasks/demo.py").write_text(STEP.replace("import numpy", "import no_such_module_of_ours"))
    done = run(sys.executable, project)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
