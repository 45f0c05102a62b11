"""Steps and their undo: all or none, and nothing undone once the last one has committed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tasks.release.promotion.journal import Intent, Journal, unfinished
from tasks.release.promotion.transaction import Step, run_steps


class Full(Journal):
    """A journal on a disk that has no room for one line."""

    refused = ""

    def note(self, step: str, state: str) -> None:
        if f"{step}:{state}" == self.refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().note(step, state)


@pytest.fixture
def journal(tmp_path: Path) -> Full:
    intent = Intent(transaction="t", action="promote", old="a", new="b", when="now", aliases=None)
    return Full(intent, tmp_path / "journal")


def three(done: list[str], fails: str = "") -> list[Step]:
    """Steps that note what they do and undo; one may fail after its work."""

    def do(name: str) -> None:
        done.append(name)
        if name == fails:
            raise RuntimeError(name)

    names = ("one", "two", "three")
    return [Step(name, lambda name=name: do(name), lambda name=name: done.append(f"-{name}")) for name in names]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("refused", "done", "fails"),
    [
        ("", ["one", "two", "three"], False),
        ("one:begin", [], True),  # nothing was begun
        ("two:begin", ["one", "-one"], True),
        ("two:done", ["one", "two", "-two", "-one"], True),
        ("three:begin", ["one", "two", "-two", "-one"], True),
        ("three:done", ["one", "two", "three"], False),  # committed
    ],
)
def test_a_full_disk_at_each_line(journal: Full, refused: str, done: list[str], fails: bool) -> None:
    journal.refused, found = refused, list[str]()
    if fails:
        with pytest.raises(OSError, match="No space left"):
            run_steps(three(found), journal, str)
    else:
        run_steps(three(found), journal, str)
    assert found == done
    # closed where all is put back; one that has done its work is closed by the caller
    assert (unfinished(journal._path) is None) == fails


@pytest.mark.parametrize("committed", [False, True])
def test_a_last_step_that_fails_after_its_work(journal: Full, committed: bool) -> None:
    found: list[str] = []
    with pytest.raises(RuntimeError, match="three"):
        run_steps(three(found, fails="three"), journal, str, lambda: committed)
    assert found == ["one", "two", "three", *([] if committed else ["-three", "-two", "-one"])]
    # the next run completes it
    assert (unfinished(journal._path) is not None) == committed
