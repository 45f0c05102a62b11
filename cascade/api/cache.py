"""Answers by content: the same bytes under the same release get the same answer without asking a model."""

from __future__ import annotations

import hashlib
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cascade.core.cascade import Prediction

if TYPE_CHECKING:
    from diskcache import Cache

log = logging.getLogger("streetvision")
DATABASE = "cache.db"  # diskcache's name
# s until a cache that could not be used is tried again
RETRY_SECONDS = 60.0
# s that one access waits for a lock; an answer without the cache takes less
LOCK_SECONDS = 0.2


class PredictionCache:
    """Answers on disk, the least recently used leaving beyond `max_bytes`. Several threads and processes may share it.

    The key holds the release, so a new release never gives an old one's answer. Values are JSON text: diskcache would
    pickle other types, and a pickle runs code when it is read. A cache that is read-only, full or locked costs time and
    never an answer: the service goes on without it, says so once, and tries again after `RETRY_SECONDS`. A damaged one
    is put aside, and a new one begins.
    """

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._max_bytes, self._clock = folder, max_bytes, clock
        self._lock = Lock()
        self._failed_at, self._warned, self._suspect = -math.inf, False, False
        self._cache: Cache | None = None
        self._open()

    @property
    def available(self) -> bool:
        """Whether the cache can be used now."""
        return self._cache is not None

    def get(self, release: str, digest: str) -> Prediction | None:
        """Give the answer to a file's digest, marked as cached; None where there is none that can be read."""
        text = self._try(lambda cache: cache.get(_key(release, digest)))
        try:
            answer = None if text is None else Prediction.model_validate_json(text)
        except ValidationError:
            # an entry of another version
            return None
        return answer.model_copy(update={"cached": True}) if answer and answer.release == release else None

    def put(self, digest: str, answer: Prediction) -> None:
        """Keep an answer, unless a stage was left out of it for want of time, memory or luck."""
        if answer.complete:
            self._try(lambda cache: cache.set(_key(answer.release, digest), answer.model_dump_json()))

    def _try(self, use: Callable[[Cache], Any]) -> Any:
        """Use the cache; None where it cannot be used."""
        from diskcache import Timeout

        cache = self._open()
        if cache is None:
            return None
        try:
            return use(cache)
        except (OSError, sqlite3.Error, Timeout, ValueError, TypeError) as error:
            self._fail(error)
            return None

    def _open(self) -> Cache | None:
        from diskcache import Timeout

        with self._lock:
            if self._cache is None and self._clock() - self._failed_at >= RETRY_SECONDS:
                try:
                    self._cache = _open(self._folder, self._max_bytes, whole=self._suspect)
                    self._warned = self._suspect = False
                except (OSError, sqlite3.Error, Timeout) as error:
                    self._note(error)
            return self._cache

    def _fail(self, error: Exception) -> None:
        # an entry that is not ours is no fault of the cache as a whole
        if isinstance(error, ValueError | TypeError):
            log.warning("an entry of the cache in %s cannot be read: %s", self._folder, error)
            return
        with self._lock:
            self._cache = None
            self._suspect = _is_damage(error)
            if not self._suspect:
                self._note(error)

    def _note(self, error: Exception) -> None:
        self._failed_at = self._clock()
        if not self._warned:
            self._warned = True
            reason = str(error) or "another process holds it"
            log.warning("the cache in %s cannot be used: %s; answers are computed without it", self._folder, reason)

    def answers(
        self, release: str, files: Sequence[bytes], predict: Callable[[list[int]], list[Prediction]]
    ) -> list[Prediction]:
        """Predict files from the cache, and the rest together.

        Args:
            release: id of the release that answers.
            files: their content.
            predict: gives an answer for each of the files at these places, in order.
        """
        digests = [hashlib.sha256(data).hexdigest() for data in files]
        known = {digest: answer for digest in set(digests) if (answer := self.get(release, digest)) is not None}
        places = {digest: place for place, digest in reversed(list(enumerate(digests))) if digest not in known}
        missing = sorted(places.values())
        for place, answer in zip(missing, predict(missing) if missing else [], strict=True):
            self.put(digests[place], answer)
            known[digests[place]] = answer
        return [known[digest] for digest in digests]

    def close(self) -> None:
        """Close the files."""
        if self._cache is not None:
            self._cache.close()


def _is_damage(error: Exception) -> bool:
    """Whether a database is no database, or its pages contradict each other (https://sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def _mend(folder: Path, *, whole: bool) -> None:
    """Put a damaged database aside, so that a new one begins; whoever has it open keeps it.

    Args:
        folder: of the cache.
        whole: look at every page.

    Raises:
        sqlite3.DatabaseError: it cannot be written or is locked.
        OSError: it cannot be renamed.
    """
    try:
        found = _look(folder, whole=whole)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        found = str(error)
    if found != "ok":
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            with suppress(FileNotFoundError):
                (folder / name).replace(folder / f"{name}.damaged")
        log.warning("the cache %s is damaged: %s; it lies in %s.damaged now", folder / DATABASE, found, DATABASE)


def _key(release: str, digest: str) -> str:
    return f"{release}/{digest}"


def _open(folder: Path, max_bytes: int, *, whole: bool) -> Cache:
    from diskcache import Cache, Disk

    class TextDisk(Disk):  # type: ignore[misc]
        """Reads and writes nothing but text: whoever can write into the folder must not get code run."""

        def store(self, value: Any, read: bool, key: Any = None) -> Any:
            if not isinstance(value, str):
                raise TypeError("the answer cache keeps text only")
            return super().store(value, read, key)

        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            # diskcache's modes: 1 raw, 2 binary file, 3 text file, 4 pickle
            if mode not in (1, 3):
                raise ValueError("an entry is not text")
            return super().fetch(mode, filename, value, read)

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _mend(folder, whole=whole)
    # two leave for each that comes, so that a full cache is not emptied at a stroke
    settings = {"size_limit": max_bytes, "eviction_policy": "least-recently-used", "cull_limit": 2}
    return Cache(str(folder), LOCK_SECONDS, TextDisk, **settings)


def _look(folder: Path, *, whole: bool) -> str:
    """Give "ok", or what is wrong with the pages; diskcache itself would wait a minute for a lock.

    Raises:
        sqlite3.DatabaseError: the database is damaged, cannot be written or is locked.
    """
    with closing(sqlite3.connect(folder / DATABASE, timeout=LOCK_SECONDS, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE IF NOT EXISTS writable (x)")
        database.execute("ROLLBACK")
        return str(database.execute("PRAGMA quick_check(1)").fetchone()[0]) if whole else "ok"
