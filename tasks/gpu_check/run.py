"""Each check in a process of its own, with a limit: what crashes, hangs or takes all memory is one row of the table."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from tasks.config import Params
from tasks.gpu_check.remedy import install
from tasks.gpu_check.work import LOG, PHASE, RESULT, Check, Figures, Work

State = Literal["measured", "failed", "not installed", "not run"]
PRELOADED = ["torch", "torchvision", "transformers.modeling_utils", "transformers.processing_utils"]
LAST_WORDS = 200  # characters of what a process wrote before it died
KILL_SECONDS = 5.0
LEAST_SECONDS = 5.0  # that are left of a run, or a check is not begun


@dataclass(frozen=True)
class Outcome:
    """How a check ended.

    Attributes:
        state: failed: it raised, crashed or was ended at its limit; not run: the run's time was over.
        figures: where it was measured.
        reason: in one line, where it was not.
        seconds: that it took.
    """

    check: Check
    state: State
    figures: Figures | None = None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What all checks of a run share; `limit` replaces the limits of the checks, `deadline` is of time.monotonic."""

    params: Params
    device: Literal["cuda", "cpu"]
    tiny: bool
    deadline: float
    limit: float | None = None


def run_checks(
    checks: Sequence[Check], settings: Settings, begun: Callable[[Check], Any], ended: Callable[[Outcome], Any]
) -> list[Outcome]:
    """Run checks one after the other, since they share a card.

    Args:
        checks: in their order.
        settings: of the run.
        begun: told of each check before it begins.
        ended: told of each outcome.
    """
    _preload(settings)
    outcomes = []
    for check in checks:
        begun(check)
        outcomes.append(_run(check, settings))
        ended(outcomes[-1])
    return outcomes


def _run(check: Check, settings: Settings) -> Outcome:
    left = settings.deadline - time.monotonic()
    if left < LEAST_SECONDS:
        return Outcome(check, "not run", reason="the time of the whole run was over (--seconds)")
    if absent := missing(check.libraries):
        return _not_installed(check, absent)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        work = Work(settings.params, settings.device, settings.tiny, Path(name))
        process = _start(check, work)
        limit = min(settings.limit or check.seconds, left)
        try:
            process.join(limit)
        finally:
            # a run that is interrupted leaves nothing behind either
            if late := process.is_alive():
                _kill(process)
        return _outcome(check, work.folder, process.exitcode, limit if late else None, time.monotonic() - begun)


def _not_installed(check: Check, absent: Sequence[str]) -> Outcome:
    return Outcome(check, "not installed", reason=f"not installed: {', '.join(absent)}; {install(absent)}")


def missing(libraries: Sequence[str]) -> list[str]:
    """Those modules that are not installed; nothing is imported."""
    return [name for name in libraries if not _there(name)]


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _preload(settings: Settings) -> None:
    """Let the server of forks import torch, which is no part of the first check."""
    if settings.device == "cpu":
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_nothing)
        process.start()
        process.join(max(0.0, settings.deadline - time.monotonic()))


def _nothing() -> None:
    """What a process does that is started for its imports alone."""


def _start(check: Check, work: Work) -> BaseProcess:
    """Start a fresh interpreter for a card, whose driver survives no fork; without one, forks of one that has torch."""
    context: Any = multiprocessing.get_context("spawn" if work.device == "cuda" else "forkserver")
    process: BaseProcess = context.Process(target=_work, args=(check.run, work), name=check.name)
    process.start()
    return process


def _work(run: str, work: Work) -> None:
    """What the process does: its output goes into a file, its result into another."""
    with suppress(OSError):
        # children of its own end with it
        os.setsid()
    log = os.open(work.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    work.phase("importing libraries")
    try:
        module, _, function = run.partition(":")
        figures: Figures = getattr(import_module(module), function)(work)
        document: dict[str, Any] = {"figures": figures.model_dump(mode="json")}
    except ModuleNotFoundError as error:
        # what a library of the check needs itself
        document = {"absent": (error.name or "").partition(".")[0]} if error.name else {"error": _words(error)}
    except BaseException as error:
        document = {"error": _words(error)}
    (work.folder / RESULT).write_text(json.dumps(document), encoding="utf-8")


def _words(error: BaseException) -> str:
    words = " ".join(str(error).split())[:300]
    kind = type(error).__name__
    return f"out of GPU memory: {words}" if kind == "OutOfMemoryError" else f"{kind}: {words}"


def _kill(process: BaseProcess) -> None:
    """End a process with its children."""
    if process.pid is None:
        return
    try:
        # only a process that has made itself leader of a session
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.kill()
    process.join(KILL_SECONDS)


def _outcome(check: Check, folder: Path, code: int | None, late: float | None, seconds: float) -> Outcome:
    document = _read(folder / RESULT)
    during = f"while {phase}" if (phase := _read(folder / PHASE)) else "while starting"
    if isinstance(document, dict) and "figures" in document:
        return Outcome(check, "measured", Figures.model_validate(document["figures"]), seconds=seconds)
    if isinstance(document, dict) and document.get("absent"):
        return _not_installed(check, [document["absent"]])
    if isinstance(document, dict):
        reason = f"{document['error']} ({during})"
    elif late is not None:
        reason = f"no result after {late:.0f} s, {during}"
    else:
        reason = f"{_death(code)}, {during}{_last_words(folder)}"
    return Outcome(check, "failed", reason=reason, seconds=seconds)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = ": the kernel ends what takes too much main memory so" if name == "SIGKILL" else ""
        return f"ended by {name}{why}"
    return f"ended with exit code {code} and without a result"


def _last_words(folder: Path) -> str:
    with suppress(OSError):
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"; it wrote: {lines[-1][:LAST_WORDS]}" if lines else ""
    return ""


def _read(path: Path) -> Any:
    """JSON of a file that a killed process may have left half written; None where there is none."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
