"""What two releases answered for the same pictures, by the service's cache of answers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tasks.config.promotion import WatchParams
from tasks.release.promotion.errors import WatchError
from tasks.release.promotion.watch import shadow_report

RULES = WatchParams(min_requests=2, min_agreement=0.9)


def write_cache(folder: Path, *labels: tuple[str, str]) -> None:
    """Answers of releases `new` and `old`, picture by picture."""
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("CREATE TABLE Cache (key TEXT, value TEXT)")
        for number, pair in enumerate(labels):
            for release, label in zip(("new", "old"), pair, strict=True):
                row = (f"{release}/{number}", f'{{"label": "{label}"}}')
                database.execute("INSERT INTO Cache VALUES (?, ?)", row)
        database.commit()


def test_agreement(tmp_path: Path) -> None:
    write_cache(tmp_path, ("clear", "clear"), ("roadwork", "roadwork"))
    assert shadow_report(tmp_path, "new", "old", RULES) == "2 pictures, 100.0% with the same label; others: none"


def test_disagreement(tmp_path: Path) -> None:
    write_cache(tmp_path, ("clear", "clear"), ("roadwork", "clear"))
    with pytest.raises(WatchError, match=r"50\.0% with the same label; others: 1; promotion\.watch\.min_agreement"):
        shadow_report(tmp_path, "new", "old", RULES)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # no cache at all
        (None, "cache.folder is null"),
        # damaged: a promotion is not stopped by it
        (b"no database" * 500, "file is not a database: answers cannot be compared"),
        # no answer was kept yet
        (b"", "no such table: Cache: answers cannot be compared"),
    ],
)
def test_nothing_to_compare(tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "cache.db").write_bytes(content)
    assert expected in shadow_report(tmp_path, "new", "old", RULES)
