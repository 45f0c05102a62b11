"""Stages beside the longest chain leave the processor to it, also where Linux divides it among sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.dvc.stage import LOW_PRIORITY

AUTOGROUP = Path("/proc/self/autogroup")
SHOW = f"import os, pathlib; p = pathlib.Path('{AUTOGROUP}'); print(os.nice(0), p.read_text() if p.is_file() else '')"


def test_low_priority_holds_for_the_process_and_its_session() -> None:
    command = [*LOW_PRIORITY, sys.executable, "-c", SHOW]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True)
    niceness, _, group = done.stdout.strip().partition(" ")
    # on top of the niceness of the tests
    assert (int(niceness), done.stderr) == (min(19, os.nice(0) + 15), "")
    # kernels without autogroup have no such file
    assert not AUTOGROUP.is_file() or group.endswith("nice 15")


def test_arguments_and_exit_code_are_those_of_the_command() -> None:
    show = "import sys; print(sys.argv[1:]); sys.exit(3)"
    command = [*LOW_PRIORITY, sys.executable, "-c", show, "a b", "$HOME"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "['a b', '$HOME']\n")


def test_its_threads_of_openmp_do_not_spin() -> None:
    command = [*LOW_PRIORITY, sys.executable, "-c", "import os; print(os.environ['OMP_WAIT_POLICY'])"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "passive\n"
