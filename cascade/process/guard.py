"""The process between a supervised command and its owner, which ends the command when the owner is gone.

It ends all descendants too, when the owner says so and when the owner is gone, be it by SIGKILL.
`supervisor.Supervised` runs it as a script of its own. It is the command's parent and adopts what the command's
descendants leave behind (PR_SET_CHILD_SUBREAPER, prctl(2)), so a process cannot get away from it by a session of its
own or by the end of its parent.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process

DIE_WITH_PARENT, ADOPT = 1, 36  # PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER of linux/prctl.h
LOOK_MS = 500  # between two looks at the owner; a child of it that was forked can keep the pipe open


class Guard:
    """A command, and the pipe by which its owner is heard.

    Args:
        owner: file descriptor to read. The owner writes how many seconds the command may take to end, or closes it.
        report: file descriptor to write, which takes `started PID` or `error ERRNO`, and is closed.
        seconds: how long the command may take to end where the owner says nothing.
    """

    def __init__(self, owner: int, report: int, seconds: float) -> None:
        self._owner, self._report, self._seconds = owner, report, seconds
        self._parent = os.getppid()
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for descriptor in (owner, report):
            os.set_inheritable(descriptor, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        self._signalled = False
        self._code: int | None = None

    def run(self, command: list[str]) -> int:
        """Start the command, wait for its end or for the owner's word, end the rest, and give the exit code."""
        _prctl(ADOPT, 1)
        try:
            self._child = subprocess.Popen(
                command,
                close_fds=False,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads
            )
        except OSError as error:
            os.write(self._report, f"error {error.errno}".encode())
            return 127
        os.write(self._report, f"started {self._child.pid}".encode())
        os.close(self._report)
        # now, since the files can be gone by the time that they are needed
        from cascade.process import tree

        _let_go_of_streams()
        while self._code is None and not self._must_end():
            self._reap()
        self._end(tree)
        return 1 if self._code is None else self._code

    def _must_end(self) -> bool:
        ready, _, _ = select.select([self._owner, self._wake], [], [], LOOK_MS / 1000)
        if self._wake in ready:
            os.read(self._wake, 64)
        if self._owner in ready:
            with suppress(ValueError):
                self._seconds = float(os.read(self._owner, 64))
            return True
        return self._signalled or os.getppid() != self._parent

    def _end(self, tree: ModuleType) -> None:
        me = tree.psutil.Process()

        def alive() -> list[Process]:
            self._reap()
            found: list[Process] = tree.descendants(me)
            return found

        def is_first(process: Process) -> bool:
            with suppress(OSError):
                return os.getsid(process.pid) == self._child.pid
            return False

        tree.end(alive, is_first, self._seconds)
        self._reap()

    def _reap(self) -> None:
        """Read the exit codes of the command and of what was adopted, which would stay zombies otherwise."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child.pid:
                    self._code = self._child.returncode = os.waitstatus_to_exitcode(ended[1])

    def _note(self, number: int, _: object) -> None:
        self._signalled = self._signalled or number != signal.SIGCHLD


def _die_with_parent() -> None:
    _prctl(DIE_WITH_PARENT, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _let_go_of_streams() -> None:
    """Who reads the command's output should see its end when the command ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def main() -> None:
    """Run as `python guard.py OWNER REPORT SECONDS PATHS COMMAND...`, PATHS being where to import from."""
    owner, report, seconds, paths, *command = sys.argv[1:]
    sys.path += paths.split(os.pathsep)
    code = Guard(int(owner), int(report), float(seconds)).run(command)
    if code < 0:
        # the owner reads the signal that ended the command
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):
            # SIGKILL has no handler to take away
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
