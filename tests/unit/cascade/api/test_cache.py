"""The cache of answers: never another release's, never a degraded one, never code."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade.api.cache import RETRY_SECONDS, PredictionCache
from cascade.core.cascade import Prediction
from cascade.stages.base import SkipCause, StageResult, skipped_result
from tests.support.paths import ROOT


def answer(
    release: str = "a" * 12, *, p: float = 0.9, skipped: SkipCause | None = None, padding: int = 0
) -> Prediction:
    stages = [StageResult(stage="classifier", probability=p, verdict="roadwork", milliseconds=1)]
    stages += [skipped_result("vlm", skipped)] if skipped else []
    return Prediction(
        probability=p,
        label="roadwork",
        decided_by="classifier",
        reason="x" * padding,
        stages=stages,
        milliseconds=1,
        release=release,
    )


@pytest.fixture
def cache(tmp_path: Path) -> PredictionCache:
    return PredictionCache(tmp_path / "cache", 10_000_000)


def test_the_same_content_is_asked_once(cache: PredictionCache) -> None:
    asked: list[int] = []

    def ask(places: list[int]) -> list[Prediction]:
        asked.extend(places)
        return [answer(p=0.6 if place else 0.9) for place in places]

    first = cache.answers("a" * 12, [b"one", b"two", b"one"], ask)
    again = cache.answers("a" * 12, [b"two", b"one"], ask)
    assert asked == [0, 1]
    assert [(one.probability, one.cached) for one in first] == [(0.9, False), (0.6, False), (0.9, False)]
    assert [(one.probability, one.cached) for one in again] == [(0.6, True), (0.9, True)]
    # nothing else differs
    assert again[1].model_copy(update={"cached": False}) == first[0]


def test_a_new_release_never_answers_from_an_old_cache(cache: PredictionCache) -> None:
    cache.put("d" * 64, answer("a" * 12))
    assert cache.get("a" * 12, "d" * 64) is not None
    assert cache.get("b" * 12, "d" * 64) is None


@pytest.mark.parametrize(
    ("skipped", "kept"),
    [("off", True), ("timeout", False), ("failed", False), ("missing", False)],
)
def test_a_degraded_answer_is_not_kept(cache: PredictionCache, skipped: SkipCause, kept: bool) -> None:
    cache.put("d" * 64, answer(skipped=skipped))
    assert (cache.get("a" * 12, "d" * 64) is not None) == kept


def test_it_stays_within_its_size(tmp_path: Path) -> None:
    limit = 2_000_000
    cache = PredictionCache(tmp_path / "cache", limit)
    for index in range(40):
        cache.put(f"{index:064d}", answer(padding=200_000))
    kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.val"))
    # a new entry is written before old ones leave
    assert kept <= limit + 200_000
    assert cache.get("a" * 12, f"{39:064d}") is not None
    assert cache.get("a" * 12, f"{0:064d}") is None


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return Path.write_text, (self.path, "gone off")  # type: ignore[return-value]


@pytest.mark.parametrize("mode", [1, 2, 4])
def test_a_planted_entry_runs_nothing(cache: PredictionCache, tmp_path: Path, mode: int) -> None:
    mark = tmp_path / "mark"
    cache.put("d" * 64, answer())
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as database:
        database.execute("UPDATE Cache SET mode = ?, value = ?", (mode, pickle.dumps(Bomb(mark))))
    assert cache.get("a" * 12, "d" * 64) is None
    assert not mark.exists()


def garbage(folder: Path) -> None:
    (folder / "cache.db").write_bytes(os.urandom(5000))


def a_file_in_its_place(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("no folder")


def lock(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "cache.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


@pytest.mark.parametrize(
    "spoil",
    [
        # no folder, and none can be made
        a_file_in_its_place,
        # another process holds it
        lock,
    ],
)
def test_a_cache_that_cannot_be_used_costs_no_answer(
    tmp_path: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    held = spoil(folder)
    start = time.monotonic()
    cache = PredictionCache(folder, 10_000_000)
    assert not cache.available
    for _ in range(3):
        assert cache.answers("a" * 12, [b"one"], lambda _: [answer()])[0].probability == 0.9
    assert time.monotonic() - start < 10
    assert len([one for one in caplog.records if "cannot be used" in one.message]) == 1
    del held


def test_a_damaged_cache_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    garbage(tmp_path)
    content = (tmp_path / "cache.db").read_bytes()
    cache = PredictionCache(tmp_path, 10_000_000)
    cache.put("d" * 64, answer())
    assert cache.get("a" * 12, "d" * 64) is not None
    assert (tmp_path / "cache.db.damaged").read_bytes() == content
    assert [one.message for one in caplog.records if "is damaged" in one.message]


def test_a_cache_that_is_damaged_while_it_is_used(tmp_path: Path) -> None:
    cache = PredictionCache(tmp_path, 10_000_000)
    for number in range(200):
        cache.put(f"{number:064}", answer())
    with (tmp_path / "cache.db").open("r+b") as file:
        # all but the first page, which has the header
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    # other connections than the one that has pages in memory
    for _ in range(3):
        cache.close()
        cache.put("d" * 64, answer())
    assert cache.get("a" * 12, "d" * 64) is not None
    assert (tmp_path / "cache.db.damaged").is_file()


def test_a_cache_that_is_locked_later_is_tried_again(tmp_path: Path) -> None:
    now = [0.0]
    cache = PredictionCache(tmp_path / "cache", 10_000_000, clock=lambda: now[0])
    cache.put("d" * 64, answer())
    held = lock(tmp_path / "cache")
    cache.put("e" * 64, answer())
    assert not cache.available
    held.close()
    # still within the pause
    assert cache.get("a" * 12, "d" * 64) is None
    now[0] += RETRY_SECONDS
    assert cache.get("a" * 12, "d" * 64) is not None
    assert cache.available


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """In a process of another user, as root may write everywhere."""
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o555)
    tmp_path.chmod(0o755)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom cascade.api.cache import PredictionCache\n"
        "import diskcache\nos.setuid(65534)\nprint(PredictionCache(Path(sys.argv[1]), 1000).available)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr
