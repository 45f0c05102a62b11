"""How much a key may ask for: requests a minute and a day."""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cascade.api.auth import Keys
from cascade.api.requests import Refused

DAY_SECONDS = 86_400
# s that one access waits for another process
LOCK_SECONDS = 0.2
TABLE = "CREATE TABLE IF NOT EXISTS used (key TEXT, day INTEGER, requests INTEGER, PRIMARY KEY (key, day))"
# gives a row where the request is within the quota, and none where it is not
TAKE = """
    INSERT INTO used VALUES (?, ?, 1)
    ON CONFLICT DO UPDATE SET requests = requests + 1 WHERE requests < ? RETURNING requests
"""
log = logging.getLogger("streetvision")


class Limits:
    """Counts the requests of each key; not for several threads at once.

    A minute's limit is a token bucket: all of it may come at once, and it refills evenly. A day begins at 00:00 UTC.

    Args:
        keys: with their limits.
        file: where the days are counted, so that a restart does not give a new quota and blue and green share it.
        clock: seconds, monotonic.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        keys: Keys,
        file: Path,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._clock, self._wall = keys, clock, wall
        self._days = _Days(file)
        self._tokens = {name: float(key.requests_per_minute or 0) for name, key in keys.items()}
        self._filled = dict.fromkeys(keys, clock())

    def take(self, name: str) -> None:
        """Count one request of a key.

        Raises:
            Refused: 429, with the seconds after which the next one is let in.
        """
        key = self._keys[name]
        if key.requests_per_minute:
            self._take_token(name, key.requests_per_minute)
        if key.requests_per_day:
            self._take_of_day(name, key.requests_per_day)

    def _take_token(self, name: str, limit: int) -> None:
        now, rate = self._clock(), limit / 60
        self._tokens[name] = min(float(limit), self._tokens[name] + (now - self._filled[name]) * rate)
        self._filled[name] = now
        if self._tokens[name] < 1:
            wait = math.ceil((1 - self._tokens[name]) / rate)
            raise Refused(429, "rate_limited", f"this key may send {limit} requests a minute", retry_after=wait)
        self._tokens[name] -= 1

    def _take_of_day(self, name: str, limit: int) -> None:
        now = self._wall()
        if not self._days.take(name, int(now // DAY_SECONDS), limit):
            wait = math.ceil(DAY_SECONDS - now % DAY_SECONDS)
            raise Refused(429, "quota_exceeded", f"this key may send {limit} requests a day", retry_after=wait)


class _Days:
    """Requests a key and day, in a file; where it cannot be used, in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._memory: Counter[tuple[str, int]] = Counter()

    def take(self, name: str, day: int, limit: int) -> bool:
        """Count a request; False where the day's are used up."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=LOCK_SECONDS, isolation_level=None)) as database:
                # a count that a power failure loses costs nothing
                database.execute("PRAGMA synchronous = OFF")
                database.execute(TABLE)
                return database.execute(TAKE, (name, day, limit)).fetchone() is not None
        except (OSError, sqlite3.Error) as error:
            log.warning("serve.quota %s cannot be used: %s; requests are counted in memory", self._file, error)
        self._memory[name, day] += 1
        return self._memory[name, day] <= limit
