"""A researcher's experiments on a small repository: `dvc exp run`, queued too, and beside a run in place."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PIPELINE = """
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [train.gamma]
    metrics: [reports/train/headline.json: {cache: false}]
  other:
    cmd: python wait.py
    deps: [wait.py]
    outs: [other.txt]
"""
TRAIN = """
import json, pathlib, yaml
gamma = yaml.safe_load(open("params.yaml"))["train"]["gamma"]
pathlib.Path("reports/train").mkdir(parents=True, exist_ok=True)
json.dump({"train/mcc": 1 - gamma / 10}, open("reports/train/headline.json", "w"))
"""
# goes on until it is told to stop, which only happens in the folder itself
WAIT = """
import pathlib, time
until = time.monotonic() + 120
while pathlib.Path("waits").exists() and not pathlib.Path("go").exists() and time.monotonic() < until:
    time.sleep(0.05)
pathlib.Path("other.txt").write_text("done")
"""


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def experiments_command() -> list[str]:
    """What `make experiments` runs, less `dvc` itself."""
    line = re.search(r"^experiments:.*\n\t@\$\(RUN\) dvc (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line is not None
    return shlex.split(line[1].replace("$(ARGS)", "").replace("$$", "$"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    dvc(folder, "init", "--quiet")
    for name, text in {
        "dvc.yaml": PIPELINE,
        "train.py": TRAIN,
        "wait.py": WAIT,
        "params.yaml": "train: {gamma: 2}\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ".gitignore").write_text("/other.txt\n/waits\n/go\n", encoding="utf-8")
    dvc(folder, "repro", "--quiet")
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *name, "commit", "--quiet", "--message", "all"], cwd=folder, check=True)
    return folder


def shown(folder: Path) -> dict[str, Any]:
    """Gamma and MCC of each row that `make experiments` shows, by name."""
    rows = dvc(folder, *experiments_command(), "--csv").strip().splitlines()
    head = rows[0].split(",")
    named = [dict(zip(head, row.split(","), strict=True)) for row in rows[1:]]
    mcc = next(name for name in head if name.endswith("train/mcc"))
    return {row["train.gamma"]: row[mcc] for row in named if row["train.gamma"]}


def test_experiments_are_compared(repository: Path) -> None:
    dvc(repository, "exp", "run", "-S", "train.gamma=1")
    dvc(repository, "exp", "run", "--queue", "-S", "train.gamma=4")
    dvc(repository, "exp", "run", "--run-all")
    found = shown(repository)
    assert found.keys() == {"2", "1", "4"}
    assert {float(mcc) for mcc in found.values()} == {0.8, 0.9, 0.6}


def test_an_experiment_beside_a_run_leaves_it_alone(repository: Path) -> None:
    """A run works in the folder; an experiment in a folder of its own (`--temp`) neither waits nor touches it."""
    (repository / "waits").touch()
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "other"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL) as run:
        before = (repository / "params.yaml").read_text()
        dvc(repository, "exp", "run", "--temp", "-S", "train.gamma=6")
        assert run.poll() is None, "the run in the folder was still at work"
        assert (repository / "params.yaml").read_text() == before
        (repository / "go").touch()
        assert run.wait(timeout=60) == 0
    assert json.loads((repository / "reports/train/headline.json").read_text())["train/mcc"] != 0.4
    assert "6" in shown(repository)
