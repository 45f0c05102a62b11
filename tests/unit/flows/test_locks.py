"""The locks of DVC: who holds them is said at once, an entry that nobody holds is removed, a damaged file is named."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.dvc import locks
from flows.dvc.errors import PipelineError
from flows.dvc.locks import wait_for_lock

DVC = "/x/.venv/bin/dvc"
BUSY = "'data' is busy, it is being blocked by:\n  (PID {}): dvc repro\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose command line ends in `repro train`."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "repro", "train"]) as process:
        yield process
        process.kill()


def rwlock(folder: Path, document: Any, *, age: float = 0.0) -> Path:
    file = folder / ".dvc/tmp/rwlock"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    then = file.stat().st_mtime - age
    os.utime(file, (then, then))
    return file


def entry(pid: int, command: str = f"{DVC} repro train") -> dict[str, Any]:
    return {"pid": pid, "cmd": command}


def ended() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def attempts(answers: list[tuple[int, str]]) -> Any:
    return lambda: answers.pop(0)


@pytest.mark.parametrize(
    ("holder", "age"),
    [
        # no process has the id
        (lambda pid: entry(ended()), 0.0),
        # the process is younger than the file: as after a restart of the machine
        (entry, 3600.0),
        # a process of that age with another command line
        (lambda pid: entry(pid, f"{DVC} repro validate"), 0.0),
        (lambda pid: entry(pid, f"{DVC} repro --force --single-item and more words than it has train"), 0.0),
        # of another user, and older than the file
        (lambda pid: entry(1), 0.0),
    ],
)
@pytest.mark.parametrize("kind", ["write", "read"])
def test_an_entry_of_a_process_that_is_gone_is_removed(
    folder: Path, sleeper: subprocess.Popen[bytes], holder: Any, age: float, kind: str
) -> None:
    gone, stays = holder(sleeper.pid), entry(os.getpid(), " ".join(sys.argv))
    document = {"write": {"a": stays}, "read": {"b": [stays]}}
    document[kind]["c"] = gone if kind == "write" else [gone]
    file = rwlock(folder, document, age=age)
    if age:
        # an hour old as this process is not
        document[kind].pop("c")
        document = {"write": {}, "read": {}}
    said: list[str] = []
    assert wait_for_lock(folder, attempts([(0, "done")]), said.append) == (0, "done")
    left = json.loads(file.read_text())
    assert "c" not in left[kind]
    assert age or left == {"write": {"a": stays}, "read": {"b": [stays]}}
    assert any(str(file) in line and f"process {gone['pid']}" in line and "removed" in line for line in said)
    assert [path.name for path in file.parent.glob(".rwlock*")] == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("[]", "is damaged"),
        ({"write": {"/a": 7}}, "is damaged"),
        ({"write": {"/a": {"pid": "1", "cmd": "dvc"}}}, "is damaged"),
        ({"write": {"/a": {"pid": 1, "cmd": "dvc", "host": "x"}}}, "is damaged"),
        ({"read": {"/a": {"pid": 1, "cmd": "dvc"}}}, "is damaged"),
    ],
)
def test_a_damaged_file_is_named_with_a_remedy_and_nothing_runs(folder: Path, document: Any, words: str) -> None:
    file = rwlock(folder, document)
    with pytest.raises(PipelineError, match=words) as error:
        wait_for_lock(folder, attempts([]), print)
    assert f"`rm {file}`" in str(error.value)


# DVC was killed before it wrote a byte, and in the middle
@pytest.mark.parametrize("text", ["", '{"write": {"/a": {"pid": 1'])
def test_a_file_that_was_cut_off_starts_anew(folder: Path, text: str) -> None:
    file = rwlock(folder, text)
    said: list[str] = []
    assert wait_for_lock(folder, attempts([(0, "done")]), said.append) == (0, "done")
    assert json.loads(file.read_text()) == {}
    assert said == [f"{file}: was cut off while it was written, and no process runs DVC here; it starts anew"]


def test_a_file_that_was_cut_off_is_kept_while_dvc_works_in_the_folder(folder: Path) -> None:
    """Its entries are lost, and the process that made them may still write."""
    file = rwlock(folder, "")
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, DVC, "repro"], cwd=folder) as process:
        with pytest.raises(PipelineError, match=rf"process {process.pid} .*{DVC} repro.* works in the folder") as error:
            wait_for_lock(folder, attempts([]), print)
        process.kill()
    assert f"`rm {file}`" in str(error.value)
    assert file.read_text() == ""


def test_a_file_that_is_written_at_this_moment_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = rwlock(folder, "")
    monkeypatch.setattr("flows.dvc.rwlock.WRITING_SECONDS", 30.0)
    timer = threading.Timer(0.1, file.write_text, args=["{}"])
    timer.start()
    said: list[str] = []
    assert wait_for_lock(folder, attempts([(0, "done")]), said.append) == (0, "done")
    assert said == []


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / ".dvc/tmp/rwlock").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PipelineError, match=r"rwlock: cannot be read"):
        wait_for_lock(folder, attempts([]), print)


def test_a_living_holder_is_waited_for_and_named_at_once(
    folder: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0.01)
    file = rwlock(folder, {"write": {"/a": entry(sleeper.pid)}})
    said: list[str] = []
    answers = [(255, BUSY.format(sleeper.pid))] * 3 + [(0, "done")]
    assert wait_for_lock(folder, attempts(answers), said.append) == (0, "done")
    assert len(said) == 1, "once a minute, not once a look"
    for words in (
        str(file),
        f"process {sleeper.pid}",
        f"`{DVC} repro train`",
        "running since 2",
        f"kill {sleeper.pid}",
    ):
        assert words in said[0]
    assert json.loads(file.read_text())["write"]["/a"] == entry(sleeper.pid)


def test_waiting_ends_with_who_held_it(
    folder: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LIMIT_SECONDS", -1.0)
    rwlock(folder, {"write": {"/a": entry(sleeper.pid)}})
    with pytest.raises(PipelineError, match=rf"rwlock is held by process {sleeper.pid}.*kill {sleeper.pid}"):
        wait_for_lock(folder, attempts([(255, BUSY.format(sleeper.pid))]), print)


HOLD = """
import sys, time, zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_the_repositorys_own_lock_of_another_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC waits for this one by itself, and without a word."""
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0.01)
    file = folder / ".dvc/tmp/lock"
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        # one of our own stages holds it for moments
        assert locks.repository_holder(folder) is None
        monkeypatch.setattr(locks, "_ours", set)

        def say(line: str) -> None:
            said.append(line)
            other.stdin.close()

        assert wait_for_lock(folder, attempts([(0, "done")]), say) == (0, "done")
    assert f"{file} is held by process {other.pid}" in said[0]
    # what a process that ended left behind blocks nobody
    assert file.read_text().strip() == str(other.pid)
    assert locks.repository_holder(folder) is None


def test_a_lock_file_without_a_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LIMIT_SECONDS", -1.0)
    monkeypatch.setattr(locks, "_ours", set)
    with (folder / ".dvc/tmp/lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(PipelineError, match="is held by a process that it does not name") as error:
            wait_for_lock(folder, attempts([]), print)
    assert "kill" not in str(error.value)


def test_other_failures_are_handed_on_at_once(folder: Path) -> None:
    assert wait_for_lock(folder, attempts([(1, "no disk left")]), print) == (1, "no disk left")
