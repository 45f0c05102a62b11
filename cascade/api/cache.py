"""Answers by content: the same bytes under the same release get the same answer without asking a model."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cascade.core.cascade import Prediction

if TYPE_CHECKING:
    from diskcache import Cache

log = logging.getLogger("streetvision")


class PredictionCache:
    """Answers on disk, the least recently used leaving beyond `max_bytes`. Several threads and processes may share it.

    The key holds the release, so a new release never gives an old one's answer. Values are JSON text: diskcache would
    pickle other types, and a pickle runs code when it is read.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._cache = _open(folder, max_bytes)

    def get(self, release: str, digest: str) -> Prediction | None:
        """Give the answer to a file's digest, marked as cached; None where there is none that can be read."""
        try:
            text = self._cache.get(_key(release, digest))
            answer = None if text is None else Prediction.model_validate_json(text)
        except (ValidationError, ValueError, TypeError, OSError, sqlite3.Error) as error:
            # a damaged cache costs time, never an answer
            log.warning("an entry of the answer cache cannot be read: %s", error)
            return None
        return answer.model_copy(update={"cached": True}) if answer and answer.release == release else None

    def put(self, digest: str, answer: Prediction) -> None:
        """Keep an answer, unless a stage was left out of it for want of time, memory or luck."""
        if not answer.complete:
            return
        try:
            self._cache.set(_key(answer.release, digest), answer.model_dump_json())
        except (OSError, sqlite3.Error) as error:
            log.warning("the answer cache cannot be written: %s", error)

    def answers(
        self, release: str, files: Sequence[bytes], ask: Callable[[list[int]], list[Prediction]]
    ) -> list[Prediction]:
        """Predict files from the cache, and ask for the rest together.

        Args:
            release: id of the release that answers.
            files: their content.
            ask: gives an answer for each of the files at these places, in order.
        """
        digests = [hashlib.sha256(data).hexdigest() for data in files]
        known = {digest: answer for digest in set(digests) if (answer := self.get(release, digest)) is not None}
        places = {digest: place for place, digest in reversed(list(enumerate(digests))) if digest not in known}
        missing = sorted(places.values())
        for place, answer in zip(missing, ask(missing) if missing else [], strict=True):
            self.put(digests[place], answer)
            known[digests[place]] = answer
        return [known[digest] for digest in digests]

    def close(self) -> None:
        """Close the files."""
        self._cache.close()


def _key(release: str, digest: str) -> str:
    return f"{release}/{digest}"


def _open(folder: Path, max_bytes: int) -> Cache:
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
    # two leave for each that comes, so that a full cache is not emptied at a stroke
    return Cache(str(folder), disk=TextDisk, size_limit=max_bytes, eviction_policy="least-recently-used", cull_limit=2)
