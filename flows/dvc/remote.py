"""DVC's default remote: what a run made is pushed to it, and a new machine gets from it what a release is built of."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from cascade.process.supervisor import run
from flows.dvc.errors import PipelineError
from flows.dvc.graph import dvc_command, stage_environment
from flows.dvc.locks import wait_for_lock
from flows.dvc.rwlock import Say

NONE = "DVC has no default remote; `dvc remote add --default store URL` names one (docs/restore.md)"


class RemoteError(PipelineError):
    """The remote cannot be reached, refuses, or lacks a file."""


def default_remote(root: Path) -> str | None:
    """The name of the default remote of a DVC repository, None where there is none."""
    from dvc.config import Config

    return Config(str(root / ".dvc"), validate=False).get("core", {}).get("remote") or None


@task(
    name="push", task_run_name="push to {remote}", cache_policy=NO_CACHE, persist_result=False,
    retries=3, retry_delay_seconds=[10, 60, 300],
)  # fmt: skip
def push_outputs(root: Path, remote: str) -> None:
    """Push the outputs of all stages to a remote; what it has already is not sent again.

    Raises:
        RemoteError: it cannot be reached or refuses, three times.
    """
    _dvc(root, "push", "--remote", remote, say=get_run_logger().info)


def pull_outputs(root: Path, outputs: Iterable[str], say: Say) -> None:
    """Get outputs of stages, as dvc.lock names them, from the cache or the default remote into the working tree.

    Raises:
        RemoteError: there is no remote, it cannot be reached, or it lacks one of the files.
    """
    if default_remote(root) is None:
        raise RemoteError(NONE)
    _dvc(root, "pull", *outputs, say=say)


def _dvc(root: Path, *arguments: str, say: Say) -> None:
    def attempt() -> tuple[int, str]:
        done = run(dvc_command(*arguments), cwd=root, env=stage_environment(), stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    code, output = wait_for_lock(root, attempt, say)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if code != 0:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no output"]
        raise RemoteError(f"dvc {' '.join(arguments)}: {' '.join(errors)}")
    say(f"dvc {arguments[0]}: {lines[-1] if lines else 'done'}")
