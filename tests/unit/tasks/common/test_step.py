"""The command line of steps: messages and exit codes here, the spared run and the killed one as processes."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.common.step import KEPT, step_main
from tasks.config import ConfigError, Params
from tests.support.paths import ROOT
from tests.support.project import edit, put, write_project


class Refused(RuntimeError):
    """Bad input of a kind that the step names."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters and no pipeline."""
    monkeypatch.chdir(tmp_path)
    put("params.yaml", (ROOT / "params.yaml").read_text(encoding="utf-8"))(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("result", "printed"),
    [
        # text as it is, other results as JSON with what JSON lacks as text, nothing
        ("a line", "a line\n"),
        ({"mcc": 0.5, "at": Path("x")}, '{\n "mcc": 0.5,\n "at": "x"\n}\n'),
        (None, ""),
    ],
)
def test_the_result_is_printed(place: Path, capsys: pytest.CaptureFixture[str], result: Any, printed: str) -> None:
    assert step_main("train", lambda params, options: result, None)([]) == 0
    assert capsys.readouterr() == (printed, "")


@pytest.mark.parametrize("kind", [ValueError, ConfigError, OSError, Refused])
def test_bad_input_is_one_line(place: Path, capsys: pytest.CaptureFixture[str], kind: type[Exception]) -> None:
    def run(params: Params, options: argparse.Namespace) -> None:
        raise kind("bad input")

    assert step_main("train", run, None, errors=(Refused,))([]) == 1
    assert capsys.readouterr() == ("", "train: bad input\n")


@pytest.mark.parametrize("kind", [KeyError, RuntimeError, Refused])
def test_a_defect_is_not_hidden(place: Path, kind: type[Exception]) -> None:
    def run(params: Params, options: argparse.Namespace) -> None:
        raise kind("defect")

    with pytest.raises(kind):
        step_main("train", run, None)([])


def test_bad_parameters_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put("params.yaml", "profile: sample\n")(place)
    assert step_main("train", lambda params, options: "not run", None)([]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("train: params.yaml does not fit:")


def test_the_step_gets_its_own_flags_and_all_parameters(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def flags(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", choices=["weights", "data"])
        parser.add_argument("--on")

    main = step_main(
        "pull", lambda params, options: f"{options.what} {options.on} {params.embed.size}", None, flags=flags
    )
    assert main(["weights", "--on", "pool"]) == 0
    assert capsys.readouterr().out == "weights pool 224\n"
    with pytest.raises(SystemExit):
        main(["nothing"])


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        step_main("train", lambda params, options: None, "Step `train`.")(["--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m tasks.train ")
    assert all(text in said for text in ("Step `train`.", "--force"))


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the step; gives exit code, stdout and stderr."""
    process = start(project, "-m", "tasks.demo", *arguments)
    said, error = process.communicate(timeout=120)
    return process.returncode, said, error


def runs(project: Path) -> int:
    file = project / "runs.txt"
    return len(file.read_text()) if file.is_file() else 0


SIZE = '{\n "size": 224\n}\n'
SPARED = (0, f"demo: {KEPT}\n", "")


def test_a_second_run_is_spared_until_something_changes(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    assert run(project) == (0, f"demo: runs, since no finished run is on record here\n{SIZE}", "")
    edit("tasks/helper.py", "as often", "so many times")(project)
    assert run(project) == SPARED
    assert runs(project) == 1
    # of another size: Python knows bytecode by size and whole second of the source
    edit("tasks/helper.py", "TIMES = 1", "TIMES = 1 + 1")(project)
    assert run(project) == (0, f"demo: runs, since code of tasks.helper changed\n{SIZE}", "")
    assert run(project) == SPARED
    assert runs(project) == 2
    # a forced run is recorded like any other
    (project / "var/steps/demo.json").unlink()
    assert run(project, "--force") == (0, SIZE, "")
    assert run(project) == SPARED
    assert runs(project) == 3


def test_command_lines_that_are_no_stage_run_each_time_and_leave_the_stamp(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    run(project, "--new")
    assert run(project, "--ship") == run(project, "--ship") == (0, SIZE, "")
    assert runs(project) == 3
    assert run(project, "--new") == SPARED
    assert {path.name for path in (project / "var/steps").iterdir()} == {"demo_new.json", "demo_new.files.json"}


def test_outside_of_a_project_it_runs_each_time(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    (project / "dvc.yaml").unlink()
    assert run(project) == run(project) == (0, SIZE, "")
    assert runs(project) == 2
    assert not (project / "var").exists()


def test_a_killed_run_leaves_no_stamp(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    run(project)
    put("data/in.txt", "wait")(project)
    process = start(project, "-m", "tasks.demo")
    deadline = time.monotonic() + 120
    while (project / "out/a").read_text() != "wait":
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # all is as the first run had it and left it
    put("data/in.txt", "text\n")(project)
    put("out/a", "text\n")(project)
    assert run(project) == (0, f"demo: runs, since no finished run is on record here\n{SIZE}", "")


def test_sparing_a_run_loads_neither_libraries_nor_parameters(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    run(project)
    script = "import sys; from tasks.demo import main; main([]); print({'pydantic', 'demo_library'} & {*sys.modules})"
    said, _ = start(project, "-c", script).communicate(timeout=120)
    assert said == f"demo: {KEPT}\nset()\n"
