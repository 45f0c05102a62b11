"""Worktrees in var/worktrees: made for a run, taken over from one that failed, removed with all that git notes of them.

A living run holds the lock beside its tree, which the kernel gives back however the run ends.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.dvc.errors import PipelineError
from flows.worktree import git
from flows.worktree.tree import RunTree, read_record
from tasks.common.stamp import STEPS

if TYPE_CHECKING:
    from filelock import BaseFileLock

WORKTREES = Path("var/worktrees")
LAST_STEPS = Path("var/worktree-steps")


@contextmanager
def claim(checkout: Path, revision: str, run: str, name: str, *, new: bool = False) -> Iterator[RunTree]:
    """Hold a tree of a revision: one that a failed run left, with what is done in it, else a new one.

    Args:
        checkout: the project's folder.
        revision: of git.
        run: id of the flow run.
        name: of the folder, if it is a new one.
        new: take over nothing, for a run that does not go on with the work of others.

    Raises:
        PipelineError: git refuses, or the revision does not exist.
    """
    checkout = checkout.resolve()
    commit, folder = git.commit_of(checkout, revision), checkout / WORKTREES
    folder.mkdir(parents=True, exist_ok=True)
    git.git(checkout, "worktree", "prune")
    found = (None if new else _take_over(folder, commit, run)) or _make(checkout, folder / name, commit, run)
    tree, lock = found
    try:
        yield tree
    finally:
        if tree.done.exists():
            _drop(tree.checkout, tree.folder)
        lock.release()


def prune(checkout: Path, keep: int) -> list[Path]:
    """Remove trees that no run holds: what was cut off half-made, what is done, and of the others all but `keep`.

    Returns:
        The folders that stay, the newest first.
    """
    kept: list[Path] = []
    for folder in _folders(checkout.resolve() / WORKTREES):
        if (lock := _try(folder)) is None:
            continue
        tree = read_record(folder.with_name(f"{folder.name}.json"))
        if tree is None or tree.done.exists() or len(kept) >= keep:
            _drop(checkout.resolve(), folder)
        else:
            kept.append(folder)
        lock.release()
    return kept


def remove(checkout: Path, folder: Path) -> None:
    """Remove a tree, its record and what git notes of it, also where it was cut off while it was made."""
    for mark in ("json", "done"):
        folder.with_name(f"{folder.name}.{mark}").unlink(missing_ok=True)
    # twice: git locks a tree while it makes it, and keeps the lock where it is killed
    with suppress(PipelineError):
        git.git(checkout, "worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(PipelineError):
        git.git(checkout, "worktree", "prune")


def _drop(checkout: Path, folder: Path) -> None:
    """Remove a tree whose lock is ours, and the lock; who waits for it finds no tree."""
    remove(checkout, folder)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


def _folders(folder: Path) -> list[Path]:
    """The trees, by the time of their last change of hands, the newest first."""
    if not folder.is_dir():
        return []
    names = {path.stem for path in folder.iterdir() if path.suffix in (".json", ".lock", ".done")}
    names |= {path.name for path in folder.iterdir() if path.is_dir()}
    return sorted((folder / name for name in names), key=_time, reverse=True)


def _time(folder: Path) -> float:
    record = folder.with_name(f"{folder.name}.json")
    return record.stat().st_mtime if record.exists() else 0.0


def _try(folder: Path) -> BaseFileLock | None:
    """The lock of a tree; None while a run holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _take_over(folder: Path, commit: str, run: str) -> tuple[RunTree, BaseFileLock] | None:
    for left in _folders(folder):
        tree = read_record(left.with_name(f"{left.name}.json"))
        if tree is None or tree.done.exists() or (lock := _try(left)) is None:
            continue
        # the run that held it may have come to its end meanwhile
        if left.is_dir() and not tree.done.exists() and _bring_to(tree, commit):
            taken = tree.model_copy(update={"revision": commit, "run": run, "resumed": True})
            taken.write()
            return taken, lock
        lock.release()
    return None


def _bring_to(tree: RunTree, commit: str) -> bool:
    """Bring a left tree to a revision, with its results where they are later; False where a person has edited it."""
    try:
        # of a commit that was killed
        Path(git.git(tree.folder, "rev-parse", "--git-path", "index.lock")).unlink(missing_ok=True)
        if not all(map(git.is_written, git.changes(tree.root))):
            return False
        if tree.revision != commit:
            _move(tree, commit)
        share_cache(tree)
    except PipelineError:
        return False
    return True


def _move(tree: RunTree, commit: str) -> None:
    """Check another revision out; results are kept where that one's own are those that the tree began with."""
    later = git.succeeds(tree.root, "diff", "--quiet", tree.revision, commit, "--", *git.WRITTEN)
    kept = {path: (tree.root / path).read_bytes() for path in _results(tree)} if later else {}
    git.git(tree.folder, "checkout", "--quiet", "--force", "--detach", commit)
    for path, content in kept.items():
        (tree.root / path).parent.mkdir(parents=True, exist_ok=True)
        (tree.root / path).write_bytes(content)


def _results(tree: RunTree) -> list[str]:
    """Files of results that differ from the revision: of a commit of the run, and those after it."""
    committed = git.git(tree.root, "diff", "--name-only", "--relative", tree.revision, "HEAD", "--", *git.WRITTEN)
    found = [*committed.splitlines(), *git.changes(tree.root, *git.WRITTEN)]
    return [path for path in dict.fromkeys(found) if (tree.root / path).is_file()]


def _make(checkout: Path, folder: Path, commit: str, run: str) -> tuple[RunTree, BaseFileLock]:
    lock = _try(folder)
    if lock is None:
        raise PipelineError(f"{folder}: another run works there")
    try:
        remove(checkout, folder)
        git.git(checkout, "worktree", "add", "--quiet", "--detach", str(folder), commit)
        tree = RunTree(
            folder=folder,
            root=folder / git.git(checkout, "rev-parse", "--show-prefix"),
            checkout=checkout,
            revision=commit,
            run=run,
        )
        _seed(tree)
        share_cache(tree)
        for steps in (checkout / STEPS, checkout / LAST_STEPS):
            _copy_stamps(steps, tree.root / STEPS)
        tree.write()
    except BaseException:
        _drop(checkout, folder)
        lock.release()
        raise
    return tree, lock


def _seed(tree: RunTree) -> None:
    """Begin with the results of the last retrain where nobody has merged its branch."""
    branch = git.newest_result(tree.checkout, tree.revision)
    if branch is None:
        return
    if git.only_results(tree.checkout, tree.revision, branch):
        # its commit is the code that was deployed: nothing is to be committed once more
        git.git(tree.folder, "checkout", "--quiet", "--detach", branch)
        return
    changed = git.git(tree.root, "diff", "--name-only", "--relative", "HEAD", branch, "--", *git.WRITTEN)
    if changed:
        git.git(tree.root, "restore", f"--source={branch}", "--worktree", "--", *changed.splitlines())


def keep_stamps(tree: RunTree) -> None:
    """Keep the records of the steps (tasks/common/stamp.py) for the next tree; each is valid for its content alone."""
    _copy_stamps(tree.root / STEPS, tree.checkout / LAST_STEPS)


def _copy_stamps(steps: Path, into: Path) -> None:
    if steps.is_dir():
        memos = shutil.ignore_patterns("*.files.json")  # of paths and times
        shutil.copytree(steps, into, ignore=memos, dirs_exist_ok=True)


def share_cache(tree: RunTree) -> None:
    """Let DVC use the cache, the remotes and the other settings of the checkout; links save space and time.

    Raises:
        PipelineError: the settings of the checkout are damaged.
    """
    from dvc.config import Config, ConfigError

    try:
        # validate: a damaged file is named by DVC when it runs, and by nobody here
        own = Config(str(tree.checkout / ".dvc"), validate=False)
        cache = own.get("cache", {})
        # a link is taken apart before a stage writes to it: DVC unprotects outputs that persist
        types = cache.get("type") or ["reflink", "hardlink", "symlink", "copy"]
        with Config(str(tree.root / ".dvc"), validate=False).edit("local") as local:
            local.update(own.load_one("local"))
            place = {"dir": str(cache.get("dir") or tree.checkout / ".dvc" / "cache"), "type": types}
            local["cache"] = {**local.get("cache", {}), **place}
    except (ConfigError, OSError) as error:
        raise PipelineError(f"{tree.checkout / '.dvc'}: {error}; correct or remove the file") from None
