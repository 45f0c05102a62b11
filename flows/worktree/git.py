"""What a run in a tree of its own asks git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from flows.dvc.errors import PipelineError
from tasks.common.git import has_git

# what stages and promotion write into files that git keeps; nothing else is committed or taken over
WRITTEN = ("dvc.lock", "reports", "data/must_pass.csv")
# of an unattended commit where git knows nobody
AUTHOR = ("-c", "user.name=streetvision retrain", "-c", "user.email=retrain@localhost")


def git(folder: Path, *words: str) -> str:
    """Run git and give what it prints.

    Raises:
        PipelineError: git fails; the message is its own.
    """
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PipelineError(f"{folder}: `git {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.rstrip("\n")


def succeeds(folder: Path, *words: str) -> bool:
    """Whether git agrees."""
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False).returncode == 0


def why_no_tree(checkout: Path) -> str | None:
    """Why no worktree can be made here, as a part of a sentence; None where one can."""
    if shutil.which("git") is None:
        return "git is not installed"
    if not has_git(checkout):
        return "the project is in no git repository"
    return None if succeeds(checkout, "rev-parse", "--verify", "HEAD") else "the git repository has no commit yet"


def commit_of(checkout: Path, revision: str) -> str:
    """The full hash of a revision.

    Raises:
        PipelineError: there is no such commit.
    """
    return git(checkout, "rev-parse", "--verify", f"{revision}^{{commit}}")


def changes(folder: Path, *paths: str) -> list[str]:
    """Files that differ from the last commit, untracked ones included; relative to `folder`."""
    found = git(folder, "-c", "core.quotepath=off", "status", "--porcelain", "--untracked-files=all", "--", *paths)
    prefix = git(folder, "rev-parse", "--show-prefix")
    return [line[3:].split(" -> ")[-1].strip('"').removeprefix(prefix) for line in found.splitlines()]


def is_written(path: str) -> bool:
    """Whether a changed file is one that the pipeline writes."""
    return any(path == one or path.startswith(f"{one}/") for one in WRITTEN)


def newest_result(checkout: Path, revision: str) -> str | None:
    """The newest branch `retrain/…` whose results are later than those of a revision; None: those are the latest.

    They are later where the revision's own `dvc.lock` and reports are still those that the branch began with.
    """
    listed = ("for-each-ref", "--sort=-committerdate", "--format=%(refname)", "--count=8", "refs/heads/retrain/")
    for branch in git(checkout, *listed).splitlines():
        try:
            base = git(checkout, "merge-base", branch, revision)
        except PipelineError:
            # no common ancestor
            continue
        if succeeds(checkout, "diff", "--quiet", base, revision, "--", *WRITTEN):
            return branch
    return None


def only_results(checkout: Path, revision: str, branch: str) -> bool:
    """Whether a branch adds results to a revision, and nothing else."""
    if not succeeds(checkout, "merge-base", "--is-ancestor", revision, branch):
        return False
    changed = git(checkout, "diff", "--name-only", "--relative", revision, branch).splitlines()
    return all(map(is_written, changed)) and bool(changed)


def author(folder: Path) -> tuple[str, ...]:
    """Options that name an author, where git has none."""
    return () if succeeds(folder, "config", "user.email") and succeeds(folder, "config", "user.name") else AUTHOR
