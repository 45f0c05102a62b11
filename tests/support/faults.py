"""Killing one of the parts of a promotion at one of its steps: the run is a child process, which can be killed too."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cascade.api.process import running
from deploy.nginx import front as nginx
from tasks.release.promotion.journal import Journal

# one server process imports what takes seconds; each child is a fork of it
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.promotion", "mlflow", "httpx", "pyarrow.parquet", "alembic.script"])
STEPS = ("green", "golden", "switch", "watch", "pointer", "alias", "ledger")


def run_child(target: Callable[..., None], *arguments: object, seconds: float = 120) -> int:
    """Run a function in a process of its own, in the current folder, and give its exit code."""
    child = start_child(target, *arguments)
    child.join(seconds)
    assert child.exitcode is not None, "the child hangs"
    return child.exitcode


def start_child(target: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    """Start a function in a process of its own, in the current folder."""
    child = CONTEXT.Process(target=_in_folder, args=(str(Path.cwd()), target, arguments))
    child.start()
    return child


def _in_folder(folder: str, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.chdir(folder)
    output = os.open("var/child.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    target(*arguments)
    sys.stdout.flush()


def promote_with_fault(release_id: str, old: str, at: str, victim: str) -> None:
    """Promote, and do harm when the journal has a line: `at` is `STEP:begin` or `STEP:done`.

    Exit code 1 where the promotion failed, as the command has it.
    """
    from cascade.release.store import RELEASES, load_release
    from tests.support import promotion

    whole = Journal.note

    def note(journal: Journal, step: str, state: str) -> None:
        whole(journal, step, state)
        if f"{step}:{state}" == at:
            harm(victim, release_id, old)

    Journal.note = note  # type: ignore[method-assign]
    try:
        promotion.promote(load_release(RELEASES / release_id))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", getattr(error, "__notes__", ""), flush=True)
        os._exit(1)


def promote_on_full_disk(release_id: str) -> None:
    """Promote; exit code 1 where that failed, whether or not there was room to say why."""
    from cascade.release.store import RELEASES, load_release
    from tests.support import promotion

    try:
        promotion.promote(load_release(RELEASES / release_id), say=lambda _: None)
    except Exception:
        with suppress(OSError):
            traceback.print_exc()
        os._exit(1)


def harm(victim: str, new: str, old: str) -> None:
    """Kill the flow (this process), green, blue, nginx's master, or nginx with its workers; or fill the disk."""
    if victim == "flow":
        os.kill(os.getpid(), signal.SIGKILL)
    elif victim == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    elif victim in ("nginx", "workers"):
        noted = nginx.running()
        children = noted.process().children() if noted else []
        for process in [noted.process(), *(children if victim == "workers" else [])] if noted else []:
            process.kill()
    else:
        for one in running():
            if one.release == {"green": new, "blue": old}[victim]:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
