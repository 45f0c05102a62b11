"""The branch `retrain/DATE`: the results of a run in its own tree, as a commit that names the run."""

from __future__ import annotations

from itertools import count

from flows.worktree import git
from flows.worktree.tree import RunTree


def commit(tree: RunTree, date: str, message: str) -> str | None:
    """Commit `dvc.lock`, the reports and the list of hard cases on a branch of the run; nothing where none changed.

    Args:
        tree: of the run; its HEAD is detached, so that no branch is held by a tree.
        date: ISO 8601; names the branch. A second run of a date gets `retrain/DATE-2`.
        message: of the commit.

    Returns:
        The branch, None where there was nothing to commit.

    Raises:
        PipelineError: git refuses.
    """
    changed = git.changes(tree.root, *git.WRITTEN)
    if not changed:
        return None
    before = git.commit_of(tree.root, "HEAD")
    git.git(tree.root, "add", "--all", "--", *changed)
    options = (*git.author(tree.root), "-c", "commit.gpgsign=false")
    git.git(tree.root, *options, "commit", "--quiet", "--no-verify", "--message", message)
    return _advance(tree, date, before)


def _advance(tree: RunTree, date: str, before: str) -> str:
    """Move the branch that ended at `before`, else make one; git lets one of two runs have a name."""
    pointing = git.git(tree.root, "for-each-ref", "--points-at", before, "--format=%(refname)", "refs/heads/retrain/")
    for name in (f"retrain/{date}{f'-{number}' if number > 1 else ''}" for number in count(1)):
        ref = f"refs/heads/{name}"
        if ref in pointing.splitlines() and before != tree.revision:
            git.git(tree.root, "update-ref", ref, "HEAD", before)
            return name
        if git.succeeds(tree.root, "update-ref", ref, "HEAD", "0" * 40):
            return name
        if not git.succeeds(tree.root, "rev-parse", "--verify", "--quiet", ref):
            # it is not the name: git says what is wrong
            git.git(tree.root, "update-ref", ref, "HEAD", "0" * 40)
    raise AssertionError
