"""Runs benches as processes, and keeps what each of them found, so that a run goes on where one was ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from cascade.process.supervisor import Supervised
from tasks.common.files import read_json, sha256, write_bytes
from tasks.common.git import code_revision, has_git
from tests.bench.history import Machine
from tests.bench.result import Result, Sample
from tests.bench.rows import Bench

FOLDER = Path("var/bench")
# share of all cores that others use; above it figures are shown and not kept
BUSY = 0.25
BUSY_SECONDS = 2.0
INTERRUPT_SECONDS = 60.0
LAST_LINES = 6
# what `make bench`, `make run` or docs write, and what no bench depends on
IGNORED = ("docs", "reports", "dvc.lock", "tests/bench/history.jsonl")


class NotMeasuredError(RuntimeError):
    """A bench has no figures; the message says why and what to do."""


class Finished(BaseModel):
    """What a process found, and the share of the cores that others used before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    busy: float
    result: Result


@dataclass(frozen=True)
class Tree:
    """The commit that is measured, and whether files differ from it or there is none."""

    commit: str
    dirty: bool

    @classmethod
    def here(cls, root: Path = Path()) -> Tree:
        """That of the project.

        Raises:
            NotMeasuredError: git fails, as in a repository without a commit.
        """
        if not has_git(root):
            return cls(code_revision(root), dirty=True)
        changes = _git(root, "status", "--porcelain", "--", ".", *(f":(exclude){name}" for name in IGNORED))
        return cls(_git(root, "rev-parse", "HEAD"), bool(changes))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


class Benches:
    """Runs benches for one tree on one machine.

    Args:
        tree: what is measured; of one with changes nothing is kept for a later run.
        machine: this one.
        again: measure again what was measured.
        say: gets a line of progress.
        folder: of results and logs.
    """

    def __init__(
        self, tree: Tree, machine: Machine, *, again: bool, say: Callable[[str], object], folder: Path = FOLDER
    ) -> None:
        self._again, self._say, self._tree = again or tree.dirty, say, tree
        place = sha256(machine.model_dump_json().encode())[:8]
        self._folder = folder / ("changed" if tree.dirty else f"{tree.commit[:12]}-{place}")
        if tree.dirty:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, bench: Bench, repeats: int) -> tuple[dict[str, list[Sample]], float]:
        """Give samples by row, and the largest share of the cores that others used.

        Raises:
            NotMeasuredError: something is missing, or a process failed or took too long.
        """
        _check(bench)
        rows: dict[str, list[Sample]] = {}
        busy = 0.0
        for number in range(1, repeats + 1):
            finished = self._one(bench, number, repeats)
            busy = max(busy, finished.busy)
            for row, samples in finished.result.rows.items():
                rows.setdefault(row, []).extend(samples)
        return rows, busy

    def _one(self, bench: Bench, number: int, repeats: int) -> Finished:
        path = self._folder / f"{bench.name}-{_inputs(bench)}-{number}.json"
        title = f"{bench.name}, {number} of {repeats}"
        if not self._again and (found := _read(path)):
            self._say(f"{title}: measured before for this commit")
            return found
        self._say(f"{title}: about {bench.minutes:g} min")
        begun, busy = time.monotonic(), psutil.cpu_percent(BUSY_SECONDS) / 100
        result = _run(bench, path.with_suffix(".result"), path.with_suffix(".log"))
        if Tree.here() != self._tree:
            raise NotMeasuredError("files of the project changed while it ran; run it again")
        found = Finished(busy=busy, result=result)
        write_bytes(path, found.model_dump_json().encode())
        self._say(f"{title}: {time.monotonic() - begun:.0f} s")
        return found


def _check(bench: Bench) -> None:
    missing = [name for name in bench.modules if find_spec(name) is None]
    if missing:
        raise NotMeasuredError(f"{', '.join(missing)} is not installed; `make bench` installs it")
    absent = [name for name in bench.files if not Path(name).exists()]
    if absent:
        raise NotMeasuredError(f"{absent[0]} is missing; `make run` makes it")


def _inputs(bench: Bench) -> str:
    """A digest of the files that a bench needs, since models can change while the commit does not."""
    paths = [Path(name) for name in bench.files]
    parts = [path.read_bytes() if path.is_file() else str(path.resolve()).encode() for path in paths]
    return sha256(b"\n".join(parts))[:8]


def _run(bench: Bench, target: Path, log: Path) -> Result:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, *bench.arguments, "--json", str(target)]
    with Supervised(command, env={**os.environ, "PYTHONPATH": paths}, log=log, seconds=INTERRUPT_SECONDS) as child:
        try:
            code = child.wait(60 * bench.limit)
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"did not end within {bench.limit:g} min; its output: {log}") from None
    if code:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-LAST_LINES:]
        raise NotMeasuredError(f"exit code {code}, {' | '.join(last[-1:])}; its output: {log}")
    try:
        return Result.model_validate(read_json(target))
    except (OSError, ValueError) as error:
        raise NotMeasuredError(f"no figures in {target}: {error}") from None


def _read(path: Path) -> Finished | None:
    try:
        return Finished.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
