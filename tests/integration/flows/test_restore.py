"""A lost machine: a fresh clone and DVC's remote serve the champion again. Real git, DVC, MLflow, nginx."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cascade.release.manifest import CascadeSettings
from flows.server.restore import app
from tasks.release import ledger
from tests.support import promotion
from tests.support.nginx import needs_nginx
from tests.support.promotion import build, make_project, standing

pytestmark = [pytest.mark.integration, pytest.mark.slow, needs_nginx]
PIPELINE = """
stages:
  pull_data:
    cmd: "true"
    outs: [data/pulled: {persist: true}]
  export:
    cmd: "true"
    outs: [models/classifier: {persist: true}]
  select_stages:
    cmd: "true"
    outs: [models/cascade: {persist: true}]
"""
IGNORED = "/var\n/models/releases\n/data/pulled\n/models/classifier\n/models/cascade\n"


def call(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def dvc(folder: Path, *arguments: str) -> None:
    call(folder, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> tuple[Path, Path, str]:
    """A repository whose champion was pushed, the ledger's copy, and the champion; its machine is gone."""
    root = tmp_path_factory.mktemp("lost")
    (root / "machine").mkdir()
    folder = make_project(root / "machine", mlflow_database)
    (folder / "models/cascade").mkdir()
    (folder / "models/cascade/cascade.json").write_text(CascadeSettings().model_dump_json(), encoding="utf-8")
    (folder / "models/cascade/sources.json").write_text("{}", encoding="utf-8")
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    dvc(folder, "init", "--quiet")
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    (folder / "dvc.lock").unlink()
    dvc(folder, "repro", "--quiet")
    dvc(folder, "remote", "add", "--default", "store", str(root / "store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        release = build(0.8)
        promotion.promote(release)
        promotion.stop_all()
    dvc(folder, "push", "--quiet")
    call(folder, "git", "add", "--all")
    call(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "all")
    call(root, "git", "clone", "--quiet", str(folder), "repository")
    shutil.copyfile(folder / "var/ledger.jsonl", root / "ledger.jsonl")
    shutil.rmtree(folder)
    return root, root / "ledger.jsonl", release.id


@pytest.fixture
def clone(lost: tuple[Path, Path, str], tmp_path: Path, mlflow_database: Path) -> Iterator[Path]:
    """A fresh clone; MLflow's empty tables are copied, as making them takes long."""
    call(tmp_path, "git", "clone", "--quiet", str(lost[0] / "repository"), "clone")
    (tmp_path / "clone/var").mkdir()
    shutil.copyfile(mlflow_database, tmp_path / "clone/var/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "clone")
        yield tmp_path / "clone"
        promotion.stop_all()


REFUSED = [
    # no remote is set
    (lambda root: (root / ".dvc/config").write_text("", encoding="utf-8"), [], "no default remote"),
    # the remote is another, empty one
    pytest.param(
        lambda root: dvc(root, "remote", "modify", "--local", "store", "url", str(root / "other")),
        [],
        "dvc pull",
        marks=pytest.mark.slow,
    ),
    # the copy of the ledger is of another champion
    (lambda root: ledger.append(line("0" * 12), root / "l.jsonl"), ["--ledger", "l.jsonl"], "check out the revision"),
]


def line(release: str) -> ledger.Promotion:
    return ledger.Promotion(when="2026-01-01T00:00:00+00:00", who="ada", why="test", release=release, previous=None)


@pytest.mark.parametrize(("break_it", "arguments", "message"), REFUSED)
def test_what_cannot_be_restored_is_named(clone: Path, break_it: object, arguments: list[str], message: str) -> None:
    assert callable(break_it)
    break_it(clone)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert message in done.output
    assert standing() == promotion.Standing(None, None, None, None, None)


@pytest.mark.parametrize("with_ledger", [False, True])
def test_the_champion_serves_again(clone: Path, lost: tuple[Path, Path, str], *, with_ledger: bool) -> None:
    _, copy, champion = lost
    done = CliRunner().invoke(app, ["--ledger", str(copy)] if with_ledger else [])
    assert done.exit_code == 0, done.output
    assert standing().is_(champion)
    lines = ledger.read()
    # with the copy it is known who made it champion
    why = "test" if with_ledger else "restored from DVC's remote"
    assert (lines[0].release, lines[0].why) == (champion, why)
