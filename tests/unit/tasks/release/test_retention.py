"""What goes and what stays, by age and by who needs it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.config.retention import RetentionParams
from tasks.release import ledger, retention
from tasks.release.ledger import Promotion
from tasks.release.retention import DAY_SECONDS, Unneeded, find_unneeded, needed_releases, remove

RULES = RetentionParams(releases=2, days=10)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Releases a to f, promoted in this order but for f, which was never live; e is live, and b runs."""
    monkeypatch.chdir(tmp_path)
    for name in "abcdef":
        write(Path("models/releases") / name / "manifest.json", days=100 - ord(name) + ord("a"))
    Path("models/releases/champion").symlink_to("e")
    for before, name in zip([None, *"abcd"], "abcde", strict=True):
        ledger.append(promotion(name, before))

    class Running:
        release = "b"

    monkeypatch.setattr(retention, "running", lambda: [Running()])
    return tmp_path


def promotion(release: str, before: str | None, *, target: str | None = None) -> Promotion:
    return Promotion(
        when="2026-01-01T00:00:00+00:00", who="ada", why="test", release=release, previous=before,
        transaction=release, target=target or before,
    )  # fmt: skip


def write(path: Path, *, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("12345678", encoding="utf-8")
    then = time.time() - days * DAY_SECONDS
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))
    return path


CASES = [
    # e is live, d the target of a rollback and second newest, b runs
    (RULES, 0, {"a", "c", "f"}),
    # more of the ledger stay; f was never live
    (RetentionParams(releases=4, days=10), 0, {"a", "f"}),
    # younger than 97.5 days stay
    (RetentionParams(releases=1, days=97.5), 0, {"a", "c"}),
    # a clock that goes wrong: everything seems to be of the future
    (RULES, -1000, set()),
]


@pytest.mark.parametrize(("rules", "later", "gone"), CASES)
def test_releases(project: Path, rules: RetentionParams, later: float, gone: set[str]) -> None:
    found = find_unneeded(rules, time.time() + later * DAY_SECONDS)
    assert {one.path.name for one in found} == gone
    assert all(one.bytes == 8 for one in found)
    remove(found, print)
    assert {path.name for path in Path("models/releases").iterdir()} == {*"abcdef", "champion"} - gone
    assert Path("models/releases/champion/manifest.json").is_file()


def test_what_cannot_be_made_again_stays(project: Path) -> None:
    old = [
        "var/inbox/hard/a.jpg", "data/hard_cases/2026-01-01/a.jpg", "var/gate/reports/a/gate.json",
        "models/shipped/a", "var/mlflow.db",
    ]  # fmt: skip
    for name in old:
        write(project / name, days=500)
    assert {one.path.name for one in find_unneeded(RULES)} == {"a", "c", "f"}


def test_caches_and_logs_go_by_age(project: Path) -> None:
    write(project / "var/adapt/old/x", days=20)
    # one new file in it: the training goes on
    write(project / "var/adapt/going_on/x", days=20)
    write(project / "var/adapt/going_on/y", days=1)
    write(project / "var/services/gone.log", days=20)
    write(project / "var/services/b.log", days=20)
    found = {str(one.path) for one in find_unneeded(RULES)} - {f"models/releases/{name}" for name in "acf"}
    assert found == {"var/adapt/old", "var/services/gone.log"}


def test_one_that_cannot_go_is_said(project: Path) -> None:
    said: list[str] = []
    assert remove([Unneeded(Path("models/releases/none"), 8, "old")], said.append) == 0
    assert said[0].startswith("models/releases/none stays: ")


@given(st.lists(st.sampled_from("abcdefgh"), max_size=12), st.integers(1, 5))
def test_the_newest_and_the_way_back_are_always_needed(names: list[str], count: int) -> None:
    lines = [promotion(name, before) for name, before in zip(names, [None, *names], strict=False)]
    needed = needed_releases(lines, count)
    assert needed <= set(names)
    assert set(names[-1:]) <= needed
    assert len(needed) >= min(count, len(set(names)))
    target = ledger.rollback_target(lines)
    assert target is None or target in needed
