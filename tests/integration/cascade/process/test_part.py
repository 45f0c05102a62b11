"""Parts that `streetvision up` runs, with real processes: memory, new starts, and the end of who watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cascade.process import part, restarts
from cascade.process.part import Part
from tests.support.up import wait_for

pytestmark = pytest.mark.integration
# the child has the memory, as with the servers of Prefect and MLflow
GREEDY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; held = bytearray(80 << 20); time.sleep(60)"])
time.sleep(60)
"""
STAY = (sys.executable, "-c", "import time; time.sleep(60)")
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-m", "cascade.process.part", "stay", "5", "0", "--", *sys.argv[1:]]).wait()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_memory_of_children_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(part, "MEMORY_SECONDS", 0.1)
    command = (sys.executable, "-c", GREEDY)
    with Path("log").open("wb") as log:
        code = part.run_part("greedy", command, 5, 0.08, threading.Event(), log.fileno())
    assert code == part.TOO_LARGE
    assert "GiB, and 0.08 is its limit" in capsys.readouterr().out
    assert part.running("greedy") is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        # ends each time, with what it says in the log
        ((sys.executable, "-c", "print('hello'); raise SystemExit(3)"), "one ended with code 3; it starts again in"),
        # there is no such program
        (("/no/such/program",), "one cannot be run: [Errno 2]"),
    ],
)
def test_what_ends_is_started_again_and_again(
    command: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restarts, "FIRST_SECONDS", 0.01)
    stop = threading.Event()
    thread = threading.Thread(target=restarts.keep, args=(Part(name="one", command=command, log=Path("log")), stop))
    thread.start()
    lines: list[str] = []
    wait_for(lambda: lines.extend(capsys.readouterr().out.splitlines()) or len(lines) >= 3)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert lines[0].startswith(said)
    pauses = [float(line.split()[-2]) for line in lines]
    assert pauses == sorted(pauses)
    # one run after the other is appended
    assert Path("log").read_text(encoding="utf-8").count("hello") >= (3 if "hello" in command[-1] else 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_part_ends_with_who_started_it(number: signal.Signals) -> None:
    """PM2's daemon, be it killed."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *STAY])
    noted = wait_for(lambda: part.running("stay"))
    os.kill(parent.pid, number)
    parent.wait()
    wait_for(lambda: part.running("stay") is None and not noted.process(), 10)


def test_leftovers_are_ended_and_those_of_a_copy_are_not(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-m", "cascade.process.part", "stay", "5", "0", "--", *STAY])
    noted = wait_for(lambda: part.running("stay"))
    note = part.FOLDER / "stay.json"
    text = note.read_text(encoding="utf-8")
    note.write_text(text.replace(noted.folder, "/elsewhere"), encoding="utf-8")
    assert part.end_leftovers(1.0) == []
    assert noted.process() is not None
    note.write_text(text, encoding="utf-8")
    begun = time.monotonic()
    assert part.end_leftovers(5.0) == ["stay"]
    assert (noted.process(), child.wait(5)) == (None, 0)
    assert time.monotonic() - begun < 5
    assert list(part.FOLDER.glob("*.json")) == []
