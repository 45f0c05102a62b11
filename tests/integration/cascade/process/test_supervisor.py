"""Supervised commands with real processes: whatever happens to their owner, none of their tree is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cascade.process import tree
from cascade.process.supervisor import Supervised, run, start_detached
from tests.support import process_tree
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration
# a run that is killed must leave nothing after this time
LIMIT = 10.0
OWNER = """
import sys, time
from pathlib import Path
from cascade.process.supervisor import Supervised
from tests.support.process_tree import command
child = Supervised(command(Path(sys.argv[1])))
time.sleep(600)
"""
FORKED = """
import os, sys, time
from pathlib import Path
from cascade.process.supervisor import Supervised
from tests.support.process_tree import command
child = Supervised(command(Path(sys.argv[1])))
# it has the pipe by which the guard hears of its owner
if os.fork() == 0:
    Path(sys.argv[1], "forked").write_text(str(os.getpid()))
    time.sleep(60)
time.sleep(600)
"""
DETACHING = """
import sys, time
from pathlib import Path
from cascade.process.supervisor import Supervised, start_detached
from tests.support.process_tree import command
start_detached(command(Path(sys.argv[1])))
time.sleep(600)
"""


def left_after(found: list[psutil.Process], seconds: float = LIMIT) -> list[psutil.Process]:
    """Those that still run; a zombie of a parent that reads no exit codes counts as ended."""
    until = time.monotonic() + seconds
    while (left := [one for one in found if tree.runs(one)]) and time.monotonic() < until:
        time.sleep(0.05)
    return left


@pytest.fixture
def script(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    process_tree.end_by_force(*started)
    for process in started:
        process.wait()


def own(code: str, folder: Path, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """A process that owns a tree."""
    command = [sys.executable, "-c", code, str(folder)]
    started.append(subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_signals))  # noqa: PLW1509
    return started[-1]


def heed_signals() -> None:
    """Undo what `nohup` and a shell's `&` leave to all descendants: Python takes over that a signal is ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        # it cannot do anything for its children
        (OWNER, signal.SIGKILL),
        # Python ends at once where nobody handles them
        pytest.param(OWNER, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(OWNER, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(OWNER, signal.SIGHUP, marks=pytest.mark.slow),
        # a worker that it forked keeps its files open
        pytest.param(FORKED, signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_the_end_of_the_owner_ends_the_tree(
    tmp_path: Path, script: list[subprocess.Popen[bytes]], code: str, number: signal.Signals
) -> None:
    owner = own(code, tmp_path, script)
    found = process_tree.processes(tmp_path)
    # the tree may stand before its owner has forked
    forked = process_tree.processes(tmp_path, ("forked",)) if code == FORKED else []
    owner.send_signal(number)
    assert left_after(found) == []
    process_tree.end_by_force(*forked)


def test_a_killed_guard_takes_the_command_along(tmp_path: Path) -> None:
    """And `stop` ends the rest, without the guard's help."""
    child = Supervised(process_tree.command(tmp_path), seconds=0.2)
    found = process_tree.processes(tmp_path, ("leader", "worker", "own_group", "deaf"))
    guard = found[0].parent()
    assert guard is not None
    guard.kill()
    assert left_after(found[:1]) == []
    assert not child.alive()
    child.stop()
    assert left_after(found, 0) == []
    process_tree.end_by_force(*process_tree.processes(tmp_path, ("daemon",)))


@pytest.mark.parametrize(
    ("seconds", "limits"),
    [
        # the deaf one is killed after that time
        (1.0, (1.0, 5.0)),
        # all at once
        (0.0, (0.0, 3.0)),
    ],
)
def test_stop_comes_back_when_all_are_gone(tmp_path: Path, seconds: float, limits: tuple[float, float]) -> None:
    child = Supervised(process_tree.command(tmp_path))
    found = process_tree.processes(tmp_path)
    assert child.alive()
    assert (child.pid, child.poll()) == (found[-1].pid, None)
    assert tree.resident(child.pid) > 1 << 20
    start = time.monotonic()
    child.stop(seconds)
    assert limits[0] <= time.monotonic() - start < limits[1]
    assert left_after(found, 0) == []
    assert not child.alive()
    assert child.poll() in (-signal.SIGTERM, -signal.SIGKILL)
    # again: nothing happens
    child.stop()


def test_what_a_command_leaves_behind_ends_after_it(tmp_path: Path) -> None:
    child = Supervised(process_tree.command(tmp_path), seconds=0.5)
    found = process_tree.processes(tmp_path)
    found[-1].kill()
    assert child.wait(LIMIT) == -signal.SIGKILL
    assert left_after(found, 0) == []


def test_a_detached_service_outlives_the_tree_that_it_was_started_in(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    child = Supervised([sys.executable, "-c", DETACHING, str(tmp_path / "service")], cwd=ROOT)
    service = process_tree.processes(tmp_path / "service")
    try:
        child.stop()
        assert left_after(service, 0) == service
        # its own children are part of it all the same
        tree.end_process(service[-1], 1.0)
        assert left_after(service) == []
    finally:
        process_tree.end_by_force(*service)


def test_a_service_may_finish_with_its_workers_before_they_are_asked(tmp_path: Path) -> None:
    """SIGTERM goes to the service alone at first."""
    code = """
import os, signal, sys, time
from pathlib import Path
def note(name):
    signal.signal(signal.SIGTERM, lambda *_: (Path(sys.argv[1], name).write_text(str(time.monotonic())), os._exit(0)))
if os.fork() == 0:
    note("worker")
else:
    def finish(*_):
        time.sleep(0.5)
        Path(sys.argv[1], "service").touch()
        os._exit(0)
    signal.signal(signal.SIGTERM, finish)
Path(sys.argv[1], f"ready.{os.getpid()}").touch()
time.sleep(600)
"""
    child = start_detached([sys.executable, "-c", code, str(tmp_path)])
    while len(list(tmp_path.glob("ready.*"))) < 2:
        assert child.poll() is None
    start = time.monotonic()
    tree.end_process(psutil.Process(child.pid), 5.0)
    assert child.wait() == 0
    assert (tmp_path / "service").exists()
    assert float((tmp_path / "worker").read_text()) - start >= 0.5


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        ("echo one; echo two >&2", 0, "one\ntwo\n"),
        ("printf 'a\\rb\\r\\n'; exit 3", 3, "a\nb\n"),
        # no UTF-8
        ("printf 'a\\377'", 0, "a\ufffd"),
        ("kill -9 $$", -9, ""),
        ("kill -TERM $$", -15, ""),
    ],
)
def test_run_gives_code_and_output(script: str, code: int, output: str) -> None:
    done = run(["sh", "-c", script])
    assert (done.returncode, done.stdout) == (code, output)


def test_output_is_at_its_end_when_the_command_is(tmp_path: Path) -> None:
    """Though the guard and the detached service live on."""
    code = "from cascade.process.supervisor import start_detached; print(start_detached(['sleep', '30']).pid)"
    done = run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    service = psutil.Process(int(done.stdout))
    assert tree.runs(service)
    service.kill()


@pytest.mark.parametrize(
    ("program", "error"),
    [("/no/such/program", FileNotFoundError), ("/etc", PermissionError), ("no-such-program", FileNotFoundError)],
)
def test_a_program_that_cannot_be_run(program: str, error: type[OSError]) -> None:
    with pytest.raises(error) as caught:
        Supervised([program])
    assert caught.value.filename == program


def test_environment_folder_descriptors_and_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "of.log"
    read, write = os.pipe()
    environment = {"PATH": os.environ["PATH"], "ONE": "1", tree.DETACHED: "of somebody else"}
    line = f"env; pwd; echo through >&{write}"
    with Supervised(["bash", "-c", line], env=environment, cwd=tmp_path, log=log, pass_fds=[write]) as child:
        assert child.wait() == 0
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "through\n"
    said = log.read_text().splitlines()
    assert "ONE=1" in said
    assert str(tmp_path) in said
    assert not [line for line in said if line.startswith((tree.DETACHED, "HOME="))]
