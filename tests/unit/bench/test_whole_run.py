"""What the cold run times: `make run` in a fresh clone of the last commit, which is gone afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.whole_run import cold, warm

MAKEFILE = """
run:
\t@test ! -e local && sleep 0.3 && touch "{log}/ran" && exit {code}
stop:
\t@touch "{log}/stopped"
"""


def make_project(folder: Path, code: int = 0) -> Path:
    """A repository whose Makefile notes what was called; a file that is not committed would fail its run."""
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE.format(log=folder.parent, code=code))
    name = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*name, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / "local").touch()
    return folder


def test_a_clone_of_the_commit_is_timed_stopped_and_removed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    assert 0.3 < cold(project, tmp_path / "clone") < 30
    assert {path.name for path in tmp_path.iterdir()} == {"project", "ran", "stopped"}


def test_a_run_that_fails_has_no_time(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", code=3)
    with pytest.raises(SystemExit, match=r"`make run` in .*clone ended with code 2"):
        cold(project, tmp_path / "clone")
    assert not (tmp_path / "clone").exists()
    assert (tmp_path / "stopped").exists()


def test_a_warm_run_needs_a_finished_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="dvc status: ERROR"):
        warm()
