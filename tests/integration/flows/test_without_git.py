"""A project unpacked from an archive of its source: in no git repository, or inside another one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows.dvc.errors import PipelineError
from flows.dvc.graph import dvc_command, read_pipeline, stage_environment, stale_stages
from tasks.common.git import code_revision, has_git

pytestmark = pytest.mark.integration

STAGES = "stages:\n  one:\n    cmd: touch one.txt\n    outs: [one.txt]\n"


def git(folder: Path, *words: str) -> str:
    """Run git as nobody in particular, with no settings of the person who runs the tests."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What an archive of a project with DVC holds."""
    folder = tmp_path / "other" / "project"
    for name, text in ((".dvc/config", "[core]\n    analytics = false\n"), ("dvc.yaml", STAGES), ("tasks/a.py", "a")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def another_repository(folder: Path) -> None:
    git(folder, "init", "-q")
    (folder / "README").write_text("other")
    git(folder, "add", "README")
    git(folder, "commit", "-q", "-m", "other")


def reproduce(folder: Path) -> subprocess.CompletedProcess[str]:
    command = dvc_command("repro", "--single-item", "one")
    return subprocess.run(command, cwd=folder, env=stage_environment(), capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside another repository"])
def test_stages_run_without_git(project: Path, inside: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if inside:
        another_repository(project.parent)
    assert stale_stages(read_pipeline(project)) == {"one"}
    assert "core.no_scm is set in" in capsys.readouterr().out
    assert (done := reproduce(project)).returncode == 0, done.stderr
    assert stale_stages(read_pipeline(project)) == set()
    # said once
    assert capsys.readouterr().out == ""
    assert (project / ".dvc/config").read_text() == "[core]\n    analytics = false\n"
    if inside:
        assert git(project.parent, "status", "--porcelain") == "?? project/"


def test_the_sources_name_the_code(project: Path) -> None:
    another_repository(project.parent)
    first = code_revision(project)
    assert first.startswith("sources-")
    (project / "tasks/a.py").write_text("b")
    assert code_revision(project) != first


@pytest.mark.parametrize("place", ["", ".."], ids=["its own repository", "part of a repository"])
def test_git_is_used_again_where_it_is(project: Path, place: str) -> None:
    read_pipeline(project)
    local = project / ".dvc/config.local"
    local.write_text(local.read_text() + "[cache]\n    type = symlink\n")
    top = (project / place).resolve()
    (project / ".gitignore").write_text("config.local\ntmp\n")
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "all")
    assert has_git(project)
    assert stale_stages(read_pipeline(project)) == {"one"}
    assert "no_scm" not in local.read_text()
    assert "symlink" in local.read_text()
    assert code_revision(project) == git(top, "rev-parse", "HEAD")
    (project / "tasks/a.py").write_text("b")
    assert code_revision(project).endswith("-dirty")


def test_no_program_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert not has_git(project)
    assert code_revision(project).startswith("sources-")


def test_a_damaged_local_configuration_is_named(project: Path) -> None:
    (project / ".dvc/config.local").write_text("[core\n")
    with pytest.raises(PipelineError, match=r"config\.local: .*correct or remove"):
        read_pipeline(project)
