"""What Prefect's worker runs for a flow run that works in a tree of its own: `python -m flows.worktree.launch [--new]`.

It makes the tree and runs Prefect's engine on the flow of that revision: the tree is first on PYTHONPATH, and the
current folder is the checkout, whose release store, ledger, MLflow and service the flow changes. So nothing of the
checkout that is not committed is read, and all of it stays as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from cascade.process.guard import DIE_WITH_PARENT
from cascade.process.supervisor import Supervised
from flows.dvc.errors import PipelineError
from flows.worktree import slots
from flows.worktree.git import why_no_tree
from flows.worktree.tree import FAULT, IN_PLACE, RECORD, RunTree

# of the deployment (prefect.yaml): the commit that was deployed
REVISION = "STREETVISION_REVISION"
RUN_ID = "PREFECT__FLOW_RUN_ID"
# -P: the current folder is no place for modules
ENGINE = (sys.executable, "-P", "-m", "flows.worktree.engine")
END_SECONDS = 8.0  # between SIGTERM and SIGKILL, where the worker was killed
CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the flow run of PREFECT__FLOW_RUN_ID, and give the exit code of its engine."""
    keep = int(os.environ.get("STREETVISION_KEPT_TREES", "2"))
    _end_with_worker()
    with ExitStack() as stack:
        code = _engine(_environment(stack, os.environ))
    if why_no_tree(CHECKOUT) is None:
        slots.prune(CHECKOUT, keep)
    sys.exit(code)


def _end_with_worker() -> None:
    """Have a SIGTERM sent to this process when the worker is gone, be it by SIGKILL: nobody could cancel the run."""
    worker = os.getppid()
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != worker:
        sys.exit("the worker is gone")


def _environment(stack: ExitStack, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the engine; a fault is told to the flow, whose log people read."""
    if why := why_no_tree(CHECKOUT):
        return {**environ, IN_PLACE: why}
    run = environ.get(RUN_ID, "by-hand")
    name = f"{datetime.now(UTC):%Y-%m-%d}-{run[:8]}"
    try:
        new = "--new" in sys.argv
        tree = stack.enter_context(slots.claim(CHECKOUT, environ.get(REVISION) or "HEAD", run, name, new=new))
    except (PipelineError, OSError) as error:
        return {**environ, FAULT: str(error)}
    return {**environ, RECORD: str(tree.record), "PYTHONPATH": _path(tree, environ)}


def _path(tree: RunTree, environ: Mapping[str, str]) -> str:
    """PYTHONPATH with the tree in the place of the checkout."""
    others = [one for one in environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    return os.pathsep.join([str(tree.root), *(one for one in others if Path(one).resolve() != CHECKOUT)])


def _engine(environ: Mapping[str, str]) -> int:
    """Run Prefect's engine to its end; SIGTERM and Ctrl-C are handed on, and its end is waited for."""
    with Supervised(ENGINE, env=environ, stdout=sys.stdout.fileno(), seconds=END_SECONDS) as child:

        def hand_on(number: int, _: object) -> None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, hand_on)
        return child.wait()


if __name__ == "__main__":
    main()
