"""The outputs of a tree's stages, out of DVC's shared cache, and what of the checkout a run does not see."""

from __future__ import annotations

from pathlib import Path

from cascade.process.supervisor import run
from flows.dvc.graph import dvc_command, stage_environment
from flows.dvc.locks import wait_for_lock
from flows.dvc.rwlock import Say
from flows.worktree import git
from flows.worktree.tree import RunTree

# what people and the nightly mining add, which counts once it is committed and deployed
DATA = ("data/hard_cases", "data/reviews")


def check_out(tree: RunTree, say: Say, *paths: str) -> None:
    """Have DVC link what its cache holds of the outputs; a stage whose outputs are not there is stale.

    Args:
        tree: of the run.
        say: gets a line where the cache lacks something.
        paths: of outputs; all by default.

    Raises:
        PipelineError: another process blocks DVC for an hour.
    """

    def attempt() -> tuple[int, str]:
        done = run(dvc_command("checkout", *paths), cwd=tree.root, env=stage_environment())
        return done.returncode, done.stdout.strip()

    code, output = wait_for_lock(tree.root, attempt, say)
    if code != 0:
        say(f"DVC's cache has not all outputs, and their stages run again: {' '.join(output.split())[:500]}")


def unseen(tree: RunTree) -> list[str]:
    """Sentences on what of the checkout this run does not see."""
    found = []
    if new := git.changes(tree.checkout, *DATA):
        found.append(f"not committed, so that this run does not see it: {_names(new)}")
    ahead = git.git(tree.checkout, "rev-list", "--count", f"{tree.revision}..HEAD")
    if ahead != "0":
        found.append(f"the checkout is {ahead} commits ahead of what was deployed; `make deploy` deploys it")
    return found


def _names(paths: list[str]) -> str:
    shown = sorted({str(Path(path)) for path in paths})
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
