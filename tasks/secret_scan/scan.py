"""Look for keys of wallets in a tree and in its history; secrets of other kinds are `known_kinds.py`'s."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.secret_scan.files import working_files
from tasks.secret_scan.history import commit_of, text_blobs
from tasks.secret_scan.leak import Leak
from tasks.secret_scan.phrases import find_phrases
from tasks.secret_scan.wallets import find_wallets


@dataclass(frozen=True)
class Scanned:
    """What was found in how many files; not complete where the time was over before the last one."""

    leaks: tuple[Leak, ...]
    files: int
    complete: bool


def wallet_leaks(path: str, text: bytes) -> Iterator[Leak]:
    """Give the recovery phrases and private keys of wallets in a text; a file of a wallet is one finding."""
    wallets = list(find_wallets(path, text))
    yield from (Leak(path, _line(text, start), kind) for start, kind in wallets)
    if not wallets:
        yield from (
            Leak(path, _line(text, start), f"recovery phrase of {words} words") for start, words in find_phrases(text)
        )


def scan_tree(root: Path, deadline: float = float("inf")) -> Scanned:
    """Look through the files of a tree, those that git ignores too.

    Args:
        root: of the project.
        deadline: of `time.monotonic`.
    """
    return _scan(((name, text, None) for name, text in working_files(root)), deadline)


def scan_history(root: Path, deadline: float = float("inf")) -> Scanned:
    """Look through all that git has.

    Args:
        root: of the project.
        deadline: of `time.monotonic`.

    Raises:
        NoHistoryError: there is no repository.
    """
    blobs: dict[Leak, str] = {}
    found = _scan(((blob.path, blob.text, blob.id) for blob in text_blobs(root)), deadline, blobs)
    leaks = (Leak(one.path, one.line, one.kind, commit_of(root, blobs[one])) for one in found.leaks)
    return Scanned(tuple(leaks), found.files, found.complete)


def _scan(
    texts: Iterable[tuple[str, bytes, str | None]], deadline: float, blobs: dict[Leak, str] | None = None
) -> Scanned:
    leaks: dict[Leak, None] = {}
    files = 0
    for path, text, blob in texts:
        if time.monotonic() > deadline:
            return Scanned(tuple(leaks), files, complete=False)
        files += 1
        for leak in wallet_leaks(path, text):
            leaks.setdefault(leak)
            if blobs is not None and blob is not None:
                # the newest comes first, the commit of the oldest is wanted
                blobs[leak] = blob
    return Scanned(tuple(leaks), files, complete=True)


def _line(text: bytes, offset: int) -> int:
    return text.count(b"\n", 0, offset) + 1
