"""Trees of runs on real git and DVC: what a run sees, what it leaves, and what two runs do to each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.dvc.errors import PipelineError
from flows.worktree import slots
from flows.worktree.branch import commit
from flows.worktree.git import commit_of, git, why_no_tree
from flows.worktree.results import check_out, unseen
from flows.worktree.slots import claim, prune
from flows.worktree.tree import RunTree

pytestmark = pytest.mark.integration

STAGES = """
stages:
  one:
    cmd: python one.py
    deps: [one.py]
    params: [word]
    outs: [out.txt]
    metrics: [reports/one/metrics.json: {cache: false}]
"""
ONE = """
import pathlib
word = pathlib.Path("params.yaml").read_text().split()[1]
pathlib.Path("out.txt").write_text(word)
pathlib.Path("reports/one").mkdir(parents=True, exist_ok=True)
pathlib.Path("reports/one/metrics.json").write_text('{"mcc": 0.5}')
"""
DVC = [sys.executable, "-m", "dvc"]


FILES = {
    "dvc.yaml": STAGES,
    "one.py": ONE,
    "params.yaml": "word: first\n",
    "dvc.lock": "first",
    ".gitignore": "/var/\n/out.txt\n",
    ".dvc/config": "",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project under git, its stage never run."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    save(folder, "first")
    return folder


@pytest.fixture
def reproduced(checkout: Path) -> Path:
    """The project, its stage run by DVC and saved."""
    (checkout / "dvc.lock").unlink()
    reproduce(checkout)
    save(checkout, "results")
    return checkout


def leave_result(tree: RunTree, word: str) -> None:
    """Write what DVC and a stage write."""
    for name in ("dvc.lock", "reports/one/metrics.json"):
        (tree.root / name).parent.mkdir(parents=True, exist_ok=True)
        (tree.root / name).write_text(word, encoding="utf-8")


def reproduce(folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*DVC, "repro"], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout


def save(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", message)
    return commit_of(folder, "HEAD")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def state(checkout: Path) -> tuple[str, str, str]:
    """All that a run in its own tree leaves alone: commit, branch, what is not committed."""
    return commit_of(checkout, "HEAD"), git(checkout, "branch", "--show-current"), git(checkout, "status", "--short")


def edit(folder: Path, word: str) -> None:
    (folder / "params.yaml").write_text(f"word: {word}\n", encoding="utf-8")


@pytest.mark.slow
def test_a_run_sees_the_deployed_revision_and_leaves_the_checkout_as_it_was(reproduced: Path) -> None:
    checkout = reproduced
    edit(checkout, "deployed")
    revision = save(checkout, "second")
    edit(checkout, "half-edited")
    (checkout / "one.py").write_text("raise SystemExit('half-edited')", encoding="utf-8")
    before = state(checkout)

    with claim(checkout, revision, "run", "a") as tree:
        check_out(tree, print)
        # the output of the first revision comes from the cache, and is a stale one
        assert (tree.root / "out.txt").stat().st_nlink > 1
        reproduce(tree.root)
        assert text(tree.root / "out.txt") == "deployed"
        branch = commit(tree, "2026-12-01", "Retrain of 2026-12-01: run `x`")
        assert (branch, commit(tree, "2026-12-01", "again")) == ("retrain/2026-12-01", None)
        tree.done.touch()

    assert state(checkout) == before
    assert text(checkout / "out.txt") == "first"
    assert (
        git(checkout, "log", "-1", "--format=%s %P", "retrain/2026-12-01")
        == f"Retrain of 2026-12-01: run `x` {revision}"
    )
    # reports are the same, so dvc.lock alone
    assert git(checkout, "diff", "--name-only", revision, "retrain/2026-12-01") == "dvc.lock"
    assert list((checkout / slots.WORKTREES).iterdir()) == []
    assert len(git(checkout, "worktree", "list").splitlines()) == 1


def test_the_next_run_begins_with_results_that_nobody_has_merged(checkout: Path) -> None:
    with claim(checkout, "HEAD", "run", "a") as tree:
        leave_result(tree, "second")
        assert commit(tree, "2026-12-01", "results") == "retrain/2026-12-01"
        # what the promotion adds lies on the same branch
        (tree.root / "data").mkdir()
        (tree.root / "data/must_pass.csv").write_text("1", encoding="utf-8")
        commit(tree, "2026-12-01", "results")
        tree.done.touch()
    # the same revision again: its commit is taken as it is
    with claim(checkout, "HEAD", "run", "again") as tree:
        assert text(tree.root / "dvc.lock") == "second"
        assert git(tree.root, "rev-parse", "HEAD") == git(checkout, "rev-parse", "retrain/2026-12-01")
        assert commit(tree, "2026-12-01", "results") is None
        tree.done.touch()
    # the code of a later revision, with the results of the first one
    (checkout / "note.txt").write_text("note", encoding="utf-8")
    later = save(checkout, "note")
    with claim(checkout, later, "run", "b") as tree:
        assert [text(tree.root / name) for name in ("dvc.lock", "note.txt", "data/must_pass.csv")] == [
            "second",
            "note",
            "1",
        ]
        commit(tree, "2026-12-01", "results once more")
        tree.done.touch()
    assert git(checkout, "rev-parse", "retrain/2026-12-01-2^") == later
    assert git(checkout, "rev-list", "--count", f"{later}^..retrain/2026-12-01") == "2"
    # once the checkout has results of its own, these count
    (checkout / "dvc.lock").write_text("third", encoding="utf-8")
    own = save(checkout, "third")
    with claim(checkout, own, "run", "c") as tree:
        assert git(tree.root, "status", "--short") == ""


@pytest.mark.parametrize(
    ("fix", "taken"),
    [
        # the same revision again, as the schedule does
        (None, True),
        # the fault is mended and deployed: what is done is kept
        ("one.txt", True),
        # a person has edited the tree to find the fault: it is left to them
        ("edited tree", False),
    ],
)
def test_a_run_goes_on_in_the_tree_of_one_that_failed(checkout: Path, fix: str | None, taken: bool) -> None:
    revision = commit_of(checkout, "HEAD")
    # without a mark that it is done
    with claim(checkout, revision, "run-1", "a") as tree:
        leave_result(tree, "second")
    left = Path(git(tree.folder, "rev-parse", "--git-path", "index.lock"))
    left.touch()
    if fix == "one.txt":
        (checkout / fix).write_text("", encoding="utf-8")
        revision = save(checkout, "fix")
    elif fix:
        (tree.root / "one.py").write_text("", encoding="utf-8")
    with claim(checkout, revision, "run-2", "b") as second:
        assert (second.folder == tree.folder, second.resumed) == (taken, taken)
        assert (second.run, second.revision) == ("run-2", revision)
        if taken:
            assert git(second.root, "status", "--short") == " M dvc.lock\n?? reports/"
            assert text(second.root / "dvc.lock") == "second"
            assert not left.exists()
        assert commit_of(second.root, "HEAD") == revision


def test_two_runs_at_once_do_not_meet(checkout: Path) -> None:
    with claim(checkout, "HEAD", "run-1", "a") as one, claim(checkout, "HEAD", "run-2", "b") as two:
        assert one.folder != two.folder
        for tree, word in ((one, "left"), (two, "right")):
            leave_result(tree, word)
        assert (text(one.root / "dvc.lock"), text(two.root / "dvc.lock")) == ("left", "right")
        assert prune(checkout, 0) == []
        assert one.folder.is_dir()
        assert [commit(tree, "2026-12-01", "x") for tree in (one, two)] == [
            "retrain/2026-12-01",
            "retrain/2026-12-01-2",
        ]


def test_failed_trees_are_kept_up_to_a_limit(checkout: Path) -> None:
    for name in ("a", "b", "c"):
        with claim(checkout, "HEAD", name, name) as tree:
            # a person looks into it, so that no other run takes it
            (tree.root / "one.py").write_text(name, encoding="utf-8")
    # one that was killed while git made it
    half = checkout / slots.WORKTREES / "half"
    git(checkout, "worktree", "add", "--quiet", "--lock", "--detach", str(half))
    assert [folder.name for folder in prune(checkout, 2)] == ["c", "b"]
    assert sorted(path.name for path in (checkout / slots.WORKTREES).iterdir() if path.is_dir()) == ["b", "c"]
    assert len(git(checkout, "worktree", "list").splitlines()) == 3


def _hold(checkout: Path, ready: Callable[[], None]) -> None:
    with claim(checkout, "HEAD", "killed", "a"):
        ready()
        signal.pause()


def test_the_tree_of_a_killed_run_is_free(checkout: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(checkout, ready.set))
    process.start()
    assert ready.wait(60)
    with claim(checkout, "HEAD", "beside", "b") as other:
        assert other.folder.name == "b"
        other.done.touch()
    process.kill()
    process.join()
    with claim(checkout, "HEAD", "next", "c") as tree:
        assert (tree.folder.name, tree.resumed) == ("a", True)


def test_what_the_run_does_not_see_is_said(checkout: Path) -> None:
    (checkout / "data/reviews").mkdir(parents=True)
    (checkout / "data/reviews/ada.csv").write_text("1", encoding="utf-8")
    with claim(checkout, "HEAD", "run", "a") as tree:
        assert unseen(tree) == ["not committed, so that this run does not see it: data/reviews/ada.csv"]
        save(checkout, "reviews")
        assert unseen(tree) == ["the checkout is 1 commits ahead of what was deployed; `make deploy` deploys it"]


def test_a_project_in_a_larger_repository(tmp_path: Path) -> None:
    project = tmp_path / "all/project"
    project.mkdir(parents=True)
    (project / "dvc.yaml").write_text("stages: {}", encoding="utf-8")
    git(project.parent, "init", "--quiet")
    assert why_no_tree(project) == "the project is in no git repository"
    git(project.parent, "add", ".")
    assert why_no_tree(project) == "the git repository has no commit yet"
    save(project.parent, "all")
    (project / ".dvc").mkdir()
    with claim(project, "HEAD", "run", "a") as tree:
        assert tree.root == project / "var/worktrees/a/project"


@pytest.mark.parametrize("revision", ["nowhere", "--help"])
def test_a_revision_that_is_not_there_is_said(checkout: Path, revision: str) -> None:
    with pytest.raises(PipelineError, match="rev-parse"), claim(checkout, revision, "run", "a"):
        pass
    assert not (checkout / slots.WORKTREES / "a").exists()


def test_the_settings_of_the_checkout_are_those_of_the_tree(checkout: Path) -> None:
    """Paths in DVC's settings are relative to `.dvc`."""
    from dvc.config import Config

    local = checkout / ".dvc/config.local"
    local.write_text(
        "[cache]\n    dir = ../../elsewhere\n['remote \"store\"']\n    url = ../../store\n", encoding="utf-8"
    )
    with claim(checkout, "HEAD", "run", "a") as tree:
        found = Config(str(tree.root / ".dvc"))
    assert Path(found["cache"]["dir"]).resolve() == checkout.parent / "elsewhere"
    assert Path(found["remote"]["store"]["url"]).resolve() == checkout.parent / "store"
    assert found["cache"]["type"] == ["reflink", "hardlink", "symlink", "copy"]
    local.write_text("[cache\n", encoding="utf-8")
    with (
        pytest.raises(PipelineError, match=r"checkout/\.dvc: .*; correct or remove"),
        claim(checkout, "HEAD", "2", "b"),
    ):
        pass
