"""The folder that batch prediction fills: shards by content, so that a second run computes only what is missing.

While a run lasts, the folder shows the shards that this run vouches for. Those of earlier runs wait in `.earlier` and
come back when their pictures are met again; `_batch.json` is written last. Readers of parquet folders pass both over.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from tasks.common.files import write_bytes, write_json
from tasks.scale.errors import OutputError
from tasks.scale.predictor import Shard
from tasks.scale.table import ShardFacts, read_facts

EARLIER, REPORT, LOCK = ".earlier", "_batch.json", ".lock"
NAME = re.compile(r"^(?:\d{8}-\d{4}-)?([0-9a-f]{64})\.parquet$")
OUTPUT_NAMES = {EARLIER, REPORT, LOCK}


class OutputFolder:
    """The shards of a run; a context manager, since two runs must not share a folder.

    Args:
        folder: is made where it is missing.

    Attributes:
        done: keys of the shards that need not be computed.
        totals: what the shards of this run hold so far.
        reused: how many of them were there.

    Raises:
        OutputError: it holds other things, or another run is at work there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._earlier = folder, folder / EARLIER
        self.done: frozenset[str] = frozenset()
        self.totals: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.shards = self.reused = 0

    def __enter__(self) -> Self:
        _refuse_foreign(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"{self.folder}: another run writes there") from None
        self._earlier.mkdir(exist_ok=True)
        (self.folder / REPORT).unlink(missing_ok=True)
        for path in self.folder.glob(".*.partial"):
            path.unlink()
        for path in self.folder.glob("*.parquet"):
            path.rename(self._earlier / f"{_key(path)}.parquet")
        self.done = frozenset(_key(path) for path in self._earlier.glob("*.parquet") if _is_usable(path))
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def add(self, shard: Shard) -> None:
        """Write a shard in one step, or bring it back."""
        path = self.folder / f"{shard.piece:08d}-{shard.number:04d}-{shard.key}.parquet"
        facts = shard.facts
        if shard.data is None:
            (self._earlier / f"{shard.key}.parquet").rename(path)
            facts = read_facts(path)
            self.reused += 1
        else:
            write_bytes(path, shard.data)
        assert facts is not None, "shards that are no longer readable are not in `done`"  # noqa: S101
        self._count(facts)

    def finish(self, about: dict[str, Any], problems: Sequence[str]) -> dict[str, Any]:
        """Write the report; where the whole input was read, drop what belongs to no picture of it any more.

        Returns:
            The report.
        """
        counts = {name: self.totals[name] for name in ("pictures", "roadwork", "clear", "incomplete")}
        report = {**about, **counts, "refused": dict(self.refused), "shards": self.shards, "problems": [*problems]}
        if not problems:
            shutil.rmtree(self._earlier)
        write_json(self.folder / REPORT, report)
        return report

    def _count(self, facts: ShardFacts) -> None:
        self.shards += 1
        self.totals.update(facts.model_dump(include={"pictures", "roadwork", "clear", "incomplete"}))
        self.refused.update(facts.refused)


def _key(path: Path) -> str:
    found = NAME.match(path.name)
    assert found is not None, "other files are refused first"  # noqa: S101
    return found[1]


def _is_usable(path: Path) -> bool:
    """Whether a shard need not be computed again; one that is damaged or lacks a stage's result does."""
    facts = read_facts(path)
    if facts is None or facts.incomplete:
        path.unlink()
        return False
    return True


def _refuse_foreign(folder: Path) -> None:
    """A folder that was given by mistake must not lose its files."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file; --out is a folder")
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in there if name not in OUTPUT_NAMES and not NAME.match(name) and name[-8:] != ".partial"]
    if foreign:
        raise OutputError(f"{folder}: holds {foreign[0]}, which batch prediction has not written; give another folder")
