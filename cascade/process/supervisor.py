"""Commands as processes: owned ones end with their owner, detached ones outlive it. Linux only.

| a command that | is started by |
|---|---|
| ends, with all its descendants, when this process does | `Supervised`, `run` |
| goes on when this process has ended | `start_detached` |
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from cascade.process import guard, tree

SECONDS = 5.0  # between SIGTERM and SIGKILL, also where the owner was killed
# where a guard finds psutil and this package, whatever the environment of its command
PATHS = os.pathsep.join([str(Path(psutil.__file__).parents[1]), str(Path(__file__).parents[2])])


class Supervised:
    """A command in a session of its own, which ends with all its descendants when this object or this process does.

    Its parent is a guard (cascade/process/guard.py), which ends it after `stop`, when this object is collected, and
    when this process is gone, be it by SIGKILL. Descendants are ended too when the command has ended by itself.
    Services that one of them detached go on.

    Args:
        command: program and arguments.
        env: its environment, ours by default.
        cwd: its folder, ours by default.
        log: file that takes what it writes, in place of `stdout` and `stderr`.
        stdout: as for `subprocess.Popen`; nothing is kept by default.
        stderr: as for `subprocess.Popen`; goes where `stdout` goes by default.
        pass_fds: descriptors that it inherits.
        text: read its pipes as UTF-8, with line ends of any form.
        seconds: between SIGTERM and SIGKILL, where `stop` says nothing and where this process is killed.

    Raises:
        OSError: the program cannot be run.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.STDOUT,
        pass_fds: Sequence[int] = (),
        text: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        with ExitStack() as closing:
            owner, self._owner = _pipe()
            report, theirs = _pipe()
            for end in (owner, report, theirs):
                closing.enter_context(end)
            handed = (owner.fileno(), theirs.fileno())
            self._guard: subprocess.Popen[Any] = subprocess.Popen(
                [*_guard_command(*handed, seconds), *command],
                env=_unmarked(os.environ if env is None else env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=closing.enter_context(_open_log(log)) if log else stdout,
                stderr=subprocess.STDOUT if log else stderr,
                start_new_session=True,
                pass_fds=[*handed, *pass_fds],
                encoding="utf-8" if text else None,
                errors="replace" if text else None,
            )
            theirs.close()
            self.pid = self._read_report(report.read().decode(), command[0])
        self.started = tree.started_at(self.pid)

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for pipe in (self.stdout, self.stderr):
            if pipe:
                pipe.close()

    @property
    def stdout(self) -> IO[Any] | None:
        """What the command writes, where `stdout` is a pipe."""
        return self._guard.stdout

    @property
    def stderr(self) -> IO[Any] | None:
        """What the command says of errors, where `stderr` is a pipe."""
        return self._guard.stderr

    def alive(self) -> bool:
        """Whether the command itself runs, whatever its descendants do."""
        return self.started is not None and tree.find(self.pid, self.started) is not None

    def poll(self) -> int | None:
        """The command's exit code, below 0 for a signal; None until it and all its descendants have ended."""
        return self._guard.poll()

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the command and its descendants and give its exit code; raises `subprocess.TimeoutExpired`."""
        return self._guard.wait(seconds)

    def communicate(self) -> tuple[Any, Any]:
        """Read the pipes to their end; see `subprocess.Popen.communicate`."""
        return self._guard.communicate()

    def ask_to_end(self, seconds: float | None = None) -> None:
        """Have the guard end the command and its descendants, and do not wait for it."""
        with self._lock:
            if not self._owner.closed:
                with self._owner, suppress(OSError):
                    self._owner.write(str(self._seconds if seconds is None else seconds).encode())

    def stop(self, seconds: float | None = None) -> None:
        """End the command and its descendants; none is left when this returns.

        SIGTERM goes to the command's session, then to what is left without it; SIGKILL to all after `seconds`.

        Raises:
            RuntimeError: something does not die.
        """
        wait = self._seconds if seconds is None else seconds
        self.ask_to_end(wait)
        try:
            self._guard.wait(wait + tree.KILL_SECONDS + SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        # of use where the guard itself was killed
        tree.end_session(self.pid, self.started, wait)

    def _read_report(self, said: str, program: str) -> int:
        word, _, number = said.partition(" ")
        if word == "started":
            return int(number)
        self._guard.wait()
        self._owner.close()
        if word == "error":
            raise OSError(int(number), os.strerror(int(number)), program)
        raise OSError(f"the guard of {program} ended with code {self._guard.returncode} before it started the program")


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stderr: int = subprocess.STDOUT,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and give its exit code and what it wrote; it does not outlive this process.

    Raises:
        OSError: the program cannot be run.
    """
    pipe = subprocess.PIPE
    with Supervised(command, env=env, cwd=cwd, stdout=pipe, stderr=stderr, text=True) as child:
        output, errors = child.communicate()
        return subprocess.CompletedProcess(list(command), child.wait(), output, errors)


def start_detached(
    command: Sequence[str], log: Path | None = None, *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a service that outlives this process, in a session of its own: Ctrl-C does not reach it.

    It is spared where this process is itself part of a supervised command that is ended.

    Args:
        command: program and arguments.
        log: takes what it writes; nothing is kept by default.
        env: its environment, ours by default.

    Raises:
        OSError: the program cannot be run.
    """
    with ExitStack() as closing:
        output = closing.enter_context(_open_log(log)) if log else subprocess.DEVNULL
        return subprocess.Popen(
            list(command),
            env={**(os.environ if env is None else env), tree.DETACHED: secrets.token_hex(8)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _guard_command(owner: int, report: int, seconds: float) -> list[str]:
    # -I and -S: nothing of the command's environment has a say, and no package of the environment is imported
    return [sys.executable, "-I", "-S", guard.__file__, str(owner), str(report), str(seconds), PATHS]


def _unmarked(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name != tree.DETACHED}


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("wb")


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return os.fdopen(read, "rb", buffering=0), os.fdopen(write, "wb", buffering=0)
