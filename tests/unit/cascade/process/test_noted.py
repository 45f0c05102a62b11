"""Notes of processes: whose they are, and what happens to what they name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cascade.process.noted import NOTE, NotedProcess, OwnedRecord
from cascade.process.record import ProcessRecord, folder_of, read
from cascade.process.supervisor import start_detached
from cascade.process.tree import find, runs, started_at


def test_one_id_and_another_start_is_another_process() -> None:
    me = started_at(os.getpid())
    assert me is not None
    assert find(os.getpid(), me) == psutil.Process()
    for other in (me - 0.02, me + 0.02, 0.0, me + psutil.boot_time()):
        assert find(os.getpid(), other) is None
    # as psutil itself gives it, where the clock stands still
    assert me == pytest.approx(psutil.Process().create_time() - psutil.boot_time(), abs=0.01)


def test_an_ended_child_counts_as_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert started_at(child.pid) is None
        assert not runs(psutil.Process(child.pid))


def test_a_note_belongs_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    path = tmp_path / "a" / "note.json"
    note = ProcessRecord(pid=1, started=0.0, folder=folder_of(path)).write(path)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert read(path, ProcessRecord) == note == read(tmp_path / "copy" / "note.json", ProcessRecord)
    assert note.belongs_to(path)
    assert note.belongs_to(tmp_path / "link" / "note.json")
    assert not note.belongs_to(tmp_path / "copy" / "note.json")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["note.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1, "started": 0, "folder": "/", "more": 1}', "\x00"])
def test_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / "note").write_text(text)
    assert read(tmp_path / "note", ProcessRecord) is None
    (tmp_path / "note").write_bytes(b"\xff\xfe")
    assert read(tmp_path / "note", ProcessRecord) is None
    assert read(tmp_path / "nothing", ProcessRecord) is None


@pytest.mark.parametrize(
    ("here", "ended"),
    [
        # its owner is gone, and its guard as well, for here it has none
        (True, True),
        # a copied note names what the original's run may still use
        (False, False),
    ],
)
def test_leftovers_of_this_folder_alone_are_ended(tmp_path: Path, here: bool, ended: bool) -> None:
    child = start_detached(["sleep", "60"])
    note = tmp_path / f"server.1{NOTE}"
    folder = folder_of(note) if here else "/original/var"
    # process 1 runs, but did not start then
    OwnedRecord(pid=child.pid, started=started_at(child.pid) or 0, folder=folder, owner=1, owner_started=1e9).write(
        note
    )
    NotedProcess(tmp_path, "server").end_leftovers()
    assert (child.poll() is not None) == ended
    assert not note.exists()
    child.kill()
    child.wait()
