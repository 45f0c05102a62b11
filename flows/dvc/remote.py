"""DVC's default remote: what a run made is pushed to it, and a new machine gets from it what a release is built of.

With `stores.s3` it is the bucket of that section. One that does not answer is waited for, and the same command goes on
with what is left: DVC sends and fetches only what the other side does not have.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from cascade.process.supervisor import run
from flows.dvc.errors import PipelineError
from flows.dvc.graph import dvc_command, stage_environment
from flows.dvc.locks import wait_for_lock
from flows.dvc.rwlock import Say
from tasks.config import ObjectStoreParams
from tasks.stores.dvc_remote import name_remote
from tasks.stores.errors import StoreError
from tasks.stores.s3 import await_store, place

NONE = "DVC has no default remote; stores.s3 or `dvc remote add --default store URL` names one (docs/restore.md)"
# of botocore and aiohttp
CUT_OFF = (
    *("Could not connect to the endpoint", "Connection was closed", "Connect timeout", "Read timeout"),
    *("Cannot connect to host", "Server disconnected"),
)
ADVICE = {
    "push": "Its disk or quota may be full (its log says); what arrived stays there, and the same command goes on",
    "pull": "An object may be missing or damaged there: `dvc push` where it is whole, then the same command goes on",
}
LOCAL = ObjectStoreParams()  # no bucket


class RemoteError(PipelineError):
    """The remote cannot be reached, refuses, or lacks a file."""


def default_remote(root: Path, s3: ObjectStoreParams = LOCAL) -> str | None:
    """The name of the default remote of a DVC repository, None where there is none; a bucket is made it first."""
    from dvc.config import Config

    if s3.bucket:
        return name_remote(root, s3)
    return Config(str(root / ".dvc"), validate=False).get("core", {}).get("remote") or None


@task(
    name="push", task_run_name="push to {remote}", cache_policy=NO_CACHE, persist_result=False,
    retries=3, retry_delay_seconds=[10, 60, 300],
)  # fmt: skip
def push_outputs(root: Path, remote: str, s3: ObjectStoreParams = LOCAL) -> None:
    """Push the outputs of all stages to a remote; what it has already is not sent again.

    Raises:
        RemoteError: it cannot be reached or refuses, three times.
    """
    _dvc(root, "push", "--remote", remote, say=get_run_logger().info, s3=s3)


def pull_outputs(root: Path, outputs: Iterable[str], say: Say, s3: ObjectStoreParams = LOCAL) -> None:
    """Get outputs of stages, as dvc.lock names them, from the cache or the default remote into the working tree.

    Raises:
        RemoteError: there is no remote, it cannot be reached, or it lacks one of the files.
    """
    if default_remote(root, s3) is None:
        raise RemoteError(NONE)
    _dvc(root, "pull", *outputs, say=say, s3=s3)


def _dvc(root: Path, *arguments: str, say: Say, s3: ObjectStoreParams) -> None:
    """Run a DVC command, again as long as the bucket was away and time is left.

    Raises:
        RemoteError: names the bucket, or what DVC says of another remote.
    """
    # DVC tries each file by itself, and here all of them are tried again
    environment = {**stage_environment(), "AWS_MAX_ATTEMPTS": "2"}

    def attempt() -> tuple[int, str]:
        done = run(dvc_command(*arguments), cwd=root, env=environment, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    until = time.monotonic() + s3.wait_seconds
    while True:
        try:
            if s3.bucket:
                await_store(s3, say, until)
        except StoreError as error:
            raise RemoteError(f"dvc {arguments[0]}: {error}") from None
        begin = time.monotonic()
        code, output = wait_for_lock(root, attempt, say)
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        if code == 0:
            say(f"dvc {arguments[0]}: {lines[-1] if lines else 'done'}")
            return
        if not s3.bucket or not _cut_off(output) or time.monotonic() >= until:
            raise RemoteError(_failure(arguments, lines, s3))
        say(f"dvc {arguments[0]}: cut off after {time.monotonic() - begin:.0f} s; the same command goes on")


def _cut_off(output: str) -> bool:
    """Whether the store was gone while DVC worked, as its client says it."""
    return any(words in output for words in CUT_OFF)


def _failure(arguments: tuple[str, ...], lines: list[str], s3: ObjectStoreParams) -> str:
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no output"]
    if not s3.bucket:
        return f"dvc {' '.join(arguments)}: {' '.join(errors)}"
    # one line a file, which differ in the file's digest alone
    reason, last = errors[0].partition(" - ")[2] or errors[0], errors[-1].removeprefix("ERROR: ")
    return (
        f"dvc {arguments[0]}: {place(s3)} answers, and then: {last}; the first one by: {reason}. {ADVICE[arguments[0]]}"
    )
