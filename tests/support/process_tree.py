"""Trees of processes that are hard to end, and owners of one that are ended in every way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

# a command with three descendants; each that runs leaves a file with its process id in the folder it is given
TREE = """
import os, pathlib, signal, subprocess, sys, time

def stay(name):
    pathlib.Path(sys.argv[1], name).write_text(str(os.getpid()))
    time.sleep(600)

def fork(name, act):
    if os.fork() == 0:
        act()
        stay(name)

def daemon():
    os.setsid()
    if os.fork():
        os._exit(0)

fork("worker", lambda: None)
fork("own_group", os.setpgrp)
fork("deaf", lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
fork("daemon", daemon)
stay("leader")
"""
NAMES = ("worker", "own_group", "deaf", "daemon", "leader")


def command(folder: Path) -> list[str]:
    """The command line of the tree, which writes its ids into `folder`."""
    return [sys.executable, "-c", TREE, str(folder)]


def processes(folder: Path, names: tuple[str, ...] = NAMES, seconds: float = 60.0) -> list[psutil.Process]:
    """The processes of a tree, once all of them run."""
    until = time.monotonic() + seconds
    while True:
        texts = [path.read_text() for path in (folder / name for name in names) if path.is_file()]
        if len(texts) == len(names) and all(texts):
            return [psutil.Process(int(text)) for text in texts]
        assert time.monotonic() < until, f"only {len(texts)} of {names} run"
        time.sleep(0.05)


def end_by_force(*found: psutil.Process | subprocess.Popen[bytes]) -> None:
    """What a test that failed has left."""
    for process in found:
        try:
            process.kill()
        except psutil.Error:
            continue
