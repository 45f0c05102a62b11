"""Checks that fail in every way, for the processes that run checks: named as `tests.support.gpu_check_faults:crash`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tasks.gpu_check.work import RESULT, Figures, Work

NAP = 3600  # s


def measures(work: Work) -> Figures:
    """What a check should do."""
    work.phase("measuring")
    return Figures(precision="float32", million_parameters=1, load_seconds=0, ms={1: 1.0}, peak_gib=0.1)


def crashes(work: Work) -> Figures:
    """As a library of the driver does."""
    work.phase("the first call")
    os.kill(os.getpid(), signal.SIGSEGV)
    return measures(work)


def is_killed(work: Work) -> Figures:
    """As the kernel does where main memory is out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return measures(work)


def leaves(work: Work) -> Figures:
    """As a library does that calls exit itself."""
    print("unsupported card", file=sys.stderr, flush=True)
    os._exit(3)


def hangs(work: Work) -> Figures:
    """With a process of its own, which must end with it."""
    other = subprocess.Popen(["sleep", str(NAP)])
    work.phase(f"the second call, beside process {other.pid}")
    time.sleep(NAP)
    return measures(work)


def raises(work: Work) -> Figures:
    """As torch does."""
    raise RuntimeError("no kernel image is available\nfor execution on the device")


def runs_out(work: Work) -> Figures:
    """As torch's allocator does."""
    import torch

    work.phase("8 pictures a call")
    raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB")


def imports(work: Work) -> Figures:
    """A library that is installed and broken."""
    raise ImportError("libcudnn.so.9: cannot open shared object file")


def lacks(work: Work) -> Figures:
    """A library whose own need is not installed."""
    raise ModuleNotFoundError("No module named 'absl.flags'", name="absl.flags")


def writes_half(work: Work) -> Figures:
    """Dies while its result is written."""
    (work.folder / RESULT).write_text('{"figures": {"prec', encoding="utf-8")
    os._exit(0)


def dies_late(work: Work) -> Figures:
    """Its figures are there; the driver crashes when the process ends."""
    import atexit

    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    return measures(work)
