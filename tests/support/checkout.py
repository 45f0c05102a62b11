"""A checkout of this project under git whose pipeline is one quick stage, for runs that a worker starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from flows.worktree.git import git
from tasks.data.schema import SLICES
from tests.support import promotion
from tests.support.paths import ROOT

STAGES = """
stages:
  classifier:
    cmd: python stage.py
    deps: [stage.py, tiny]
    params: [prior]
    outs: [models/classifier, data/pulled]
    metrics: [reports/validate/metrics.json: {cache: false}]
"""
# its MCC is the prior of the params.yaml that it reads
STAGE = """
import json, os, pathlib, shutil, time, yaml
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
for name in ("models/classifier", "data/pulled"):
    shutil.copytree("tiny/" + name, name, dirs_exist_ok=True)
report = pathlib.Path("reports/validate/metrics.json")
report.parent.mkdir(parents=True, exist_ok=True)
report.write_text(json.dumps({"mcc": params["prior"] + 0.4, "accuracy": 0.9}))
print("stage ran in", os.getcwd())
"""
IGNORED = "/var/\n/models/\n/data/\n__pycache__/\n"


def make_checkout(folder: Path, mlflow_database: Path) -> Path:
    """Write the project, its code copied, and commit it; the stage has not run yet."""
    folder.mkdir()
    promotion.make_project(folder, mlflow_database, front="none", keep_blue_seconds=0)
    _complete(folder / "data/pulled/challenge.parquet")
    for package in ("cascade", "tasks", "flows", "deploy"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "prefect.toml", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("models/classifier", "data/pulled"):
        shutil.move(folder / name, folder / "tiny" / name)
    (folder / "dvc.lock").unlink()
    texts = {"dvc.yaml": STAGES, "stage.py": STAGE, ".gitignore": IGNORED, ".dvcignore": "var\n", ".dvc/config": ""}
    texts[".dvc/.gitignore"] = "/config.local\n/tmp\n/cache\n"
    (folder / ".dvc").mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "init", "--quiet", "--initial-branch=main")
    save(folder, "first")
    return folder


def _complete(file: Path) -> None:
    """Add the columns of a pulled set that the evaluation of the champion reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(file).to_pylist()
    more = {**dict.fromkeys(SLICES, ""), "source": "drawn", "objects": None}
    pq.write_table(
        pa.Table.from_pylist([{**row, "sha256": str(n), "place": str(n), **more} for n, row in enumerate(rows)]), file
    )


def save(folder: Path, message: str) -> str:
    """Commit all, and give the commit."""
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def set_prior(folder: Path, prior: float) -> None:
    """Change the one parameter of the stage."""
    document = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(document | {"prior": prior}), encoding="utf-8")


def environment(folder: Path, api: str, **more: str) -> dict[str, str]:
    """The environment of the checkout's worker: its own code, and the given server."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    both = {"PREFECT_API_URL": api, "STREETVISION_PREFECT_API_URL": api}
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder), **both, **more}


def python(folder: Path, env: dict[str, str], *arguments: str) -> str:
    """Run a module in the checkout, and give what it prints."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
