"""One writer of the FiftyOne dataset at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.mining import mongod
from tasks.mining.database import DatabaseDown

WRITER_SECONDS = 600


@contextmanager
def writing(database: Path) -> Iterator[None]:
    """Be the only writer; the lock beside the database ends with the process at the latest.

    Raises:
        DatabaseDown: another one kept writing for ten minutes.
    """
    database.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WRITER_SECONDS
    while True:
        try:
            descriptor = mongod.hold(database / "writer.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DatabaseDown(f"another process keeps writing to {database}; wait for it, or end it") from None
            time.sleep(0.5)
    try:
        yield
    finally:
        os.close(descriptor)
