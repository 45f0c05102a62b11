"""Digests that are reused only while a file is surely the same."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tasks.common.file_memo import MISSING, FileMemo, digest_path
from tasks.common.files import sha256

HOUR = 3600


def old(path: Path, text: str) -> Path:
    """Write a file that was last changed an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - HOUR,) * 2)
    return path


class Counted:
    """A computation that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> str:
        self.calls += 1
        return path.read_text(encoding="utf-8")


def test_an_unchanged_file_is_read_once_and_by_the_next_process_not_at_all(tmp_path: Path) -> None:
    file, compute, memo = old(tmp_path / "a", "text"), Counted(), FileMemo(tmp_path / "memo.json")
    assert [memo.get("read", file, compute) for _ in range(2)] == ["text", "text"]
    memo.save()
    assert FileMemo(tmp_path / "memo.json").get("read", file, compute) == "text"
    assert compute.calls == 1


def test_another_computation_of_the_same_file_is_another_entry(tmp_path: Path) -> None:
    file, memo = old(tmp_path / "a", "text"), FileMemo()
    assert memo.get("read", file, Counted()) == "text"
    assert memo.get("length", file, lambda path: len(path.read_text())) == 4


@pytest.mark.parametrize("age", [HOUR, 0])
def test_a_change_of_the_same_size_is_seen(tmp_path: Path, age: int) -> None:
    """With age 0 within one tick of the clock, where size, time and inode may all stay the same."""
    file, memo = old(tmp_path / "a", "text"), FileMemo()
    stamp = time.time() - age
    os.utime(file, (stamp, stamp))
    memo.get("read", file, Counted())
    with file.open("r+", encoding="utf-8") as stream:
        stream.write("TEXT")
    os.utime(file, (stamp + (1 if age else 0),) * 2)
    assert memo.get("read", file, Counted()) == "TEXT"


def test_a_file_put_in_the_place_of_another_is_seen(tmp_path: Path) -> None:
    file, memo = old(tmp_path / "a", "text"), FileMemo()
    memo.get("read", file, Counted())
    status, other = file.stat(), old(tmp_path / "b", "TEXT")
    other.replace(file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert memo.get("read", file, Counted()) == "TEXT"


@pytest.mark.parametrize(
    "content",
    [
        # killed while writing on a file system without renames
        "",
        '{"read:',
        # JSON, but no memo
        "[]",
        '{"read:a": 1}',
        '{"read:a": [[1, 2, 3]]}',
    ],
)
def test_a_damaged_memo_counts_as_empty(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old(Path("a"), "text")
    Path("memo.json").write_text(content, encoding="utf-8")
    memo = FileMemo(Path("memo.json"))
    assert memo.get("read", Path("a"), Counted()) == "text"
    memo.save()
    assert FileMemo(Path("memo.json")).get("read", Path("a"), lambda path: "not computed again") == "text"


def test_entries_of_files_that_are_gone_go(tmp_path: Path) -> None:
    memo = FileMemo(tmp_path / "memo.json")
    for name in ("a", "b"):
        memo.get("read", old(tmp_path / name, name), Counted())
    memo.save()
    memo = FileMemo(tmp_path / "memo.json")
    memo.get("read", tmp_path / "a", Counted())
    memo.save()
    assert str(tmp_path / "b") not in (tmp_path / "memo.json").read_text(encoding="utf-8")


def test_digest_of_a_file_is_its_sha256_and_of_nothing_a_word(tmp_path: Path) -> None:
    assert digest_path(old(tmp_path / "a", "text")) == sha256(b"text")
    assert digest_path(tmp_path / "b") == MISSING


TREE = {"x/a": "1", "x/deep/b": "2"}


@pytest.mark.parametrize(
    ("tree", "same"),
    [
        (TREE, True),
        # content, name, place, one more, one fewer
        ({**TREE, "x/a": "3"}, False),
        ({"x/A": "1", "x/deep/b": "2"}, False),
        ({"x/deep/a": "1", "x/deep/b": "2"}, False),
        ({**TREE, "x/c": ""}, False),
        ({"x/a": "1"}, False),
    ],
)
def test_digest_of_a_folder(tmp_path: Path, tree: dict[str, str], same: bool) -> None:
    for root, files in (("one", TREE), ("two", tree)):
        for name, text in files.items():
            old(tmp_path / root / name, text)
    (tmp_path / "two" / "x" / "empty").mkdir()
    assert (digest_path(tmp_path / "one" / "x") == digest_path(tmp_path / "two" / "x")) == same
