"""`make deploy`: set a Prefect server up and deploy prefect.yaml to it. `python -m flows.server.deploy`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cascade.process.supervisor import run
from flows.dvc.errors import PipelineError
from flows.server.parts import PREFECT, UiError
from flows.worktree.git import changes, commit_of, why_no_tree
from flows.worktree.launch import REVISION
from tasks.common.environment import SERVER

SETUP = (sys.executable, "-m", "flows.server.setup")


def server_environment(api: str) -> dict[str, str]:
    """The environment of what talks to a server: its address, and where `python` is the one that runs us."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PREFECT_API_URL": api, SERVER: api}


def deploy(environment: Mapping[str, str]) -> None:
    """Set the server of PREFECT_API_URL up, and make the deployments of prefect.yaml there, of the present commit.

    Raises:
        UiError: a command failed.
    """
    environment = {**environment, **_revision(Path.cwd())}
    for command in (SETUP, (*PREFECT, "deploy", "--all")):
        done = run(command, env=environment)
        if done.returncode != 0:
            raise UiError(f"`{' '.join(command)}` failed: {done.stdout.strip()[-2000:]}")
        if command is SETUP and done.stdout.strip():
            print(done.stdout.strip(), flush=True)


def _revision(checkout: Path) -> dict[str, str]:
    if why := why_no_tree(checkout):
        print(f"runs work in place: {why}", flush=True)
        return {}
    try:
        commit = commit_of(checkout, "HEAD")
        if changed := changes(checkout):
            print(f"deploys commit {commit[:12]}; {len(changed)} changed files are not part of it", flush=True)
    except PipelineError as error:
        raise UiError(str(error)) from None
    return {REVISION: commit}


def main() -> None:
    """Deploy, and say where to."""
    if not (api := os.environ.get(SERVER)):
        sys.exit(
            f"error: set {SERVER} to the API of a Prefect server, as http://127.0.0.1:4200/api; `make ui` starts one"
        )
    try:
        deploy(server_environment(api))
    except UiError as error:
        sys.exit(f"error: {error}")
    print(f"deployed to {api}")


if __name__ == "__main__":
    main()
