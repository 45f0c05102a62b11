"""The inbox on disk: `<folder>/<share>/<sha256>.jpg` and its trace, `<sha256>.json`; the service writes, mining reads.

Two processes may write and one may read at the same time: every file appears in one step, the trace last, so that a
picture without one is not there yet; and whoever finds a file gone goes on with the next.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

# hard: uncertain answers and disagreements. control: a random slice, with a share of its own, so that a flood of hard
# cases never pushes it out.
HARD, CONTROL = "hard", "control"
SHARES = (CONTROL, HARD)
PICTURE, TRACE = ".jpg", ".json"
NAME = re.compile(r"[0-9a-f]{64}")
ORPHAN_SECONDS = 3600.0
# when a share is full, so much stays: trimming lists the folder, and should not do so for every picture
FILL = 0.95


class InboxError(ValueError):
    """An entry of the inbox that is damaged; the message says how."""


@dataclass(frozen=True)
class Entry:
    """One picture of the inbox; `path` is that of its trace."""

    path: Path
    sha256: str
    share: str

    def load(self) -> tuple[bytes, dict[str, Any]]:
        """Give the picture and its trace.

        Raises:
            FileNotFoundError: it was removed meanwhile.
            InboxError: the picture is not what its name says, or the trace is no JSON object.
        """
        data = self.path.with_suffix(PICTURE).read_bytes()
        if sha256(data).hexdigest() != self.sha256:
            raise InboxError("the picture's digest is not its name: it was altered or cut short")
        return data, self.trace()

    def trace(self) -> dict[str, Any]:
        """Give the trace alone.

        Raises:
            FileNotFoundError: it was removed meanwhile.
            InboxError: it is no JSON object.
        """
        try:
            document = json.loads(self.path.read_bytes())
        except ValueError:
            raise InboxError("the trace is not JSON") from None
        if not isinstance(document, dict):
            raise InboxError("the trace is no JSON object")
        return document


def entries(folder: Path) -> Iterator[Entry]:
    """Give what is complete, control first, in order of digest."""
    for share in SHARES:
        for path in sorted((folder / share).glob(f"*{TRACE}")):
            if NAME.fullmatch(path.stem):
                yield Entry(path, path.stem, share)


def is_kept(folder: Path, digest: str) -> bool:
    """Whether a picture lies in any share."""
    return any((folder / share / f"{digest}{TRACE}").exists() for share in SHARES)


def save(folder: Path, share: str, data: bytes, trace: dict[str, Any]) -> bool:
    """Keep a picture with its trace, for this user's eyes only; False where it is there already.

    Not flushed to the disk: what a power cut tears is found by its digest, and one picture less is no loss.

    Raises:
        OSError: no space, no permission.
    """
    digest = sha256(data).hexdigest()
    if is_kept(folder, digest):
        return False
    for place in (folder, folder / share):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.stat().st_mode & 0o077:
            place.chmod(0o700)
    _write(folder / share / f"{digest}{PICTURE}", data)
    document = json.dumps({"sha256": digest, **trace}, indent=1, sort_keys=True).encode()
    _write(folder / share / f"{digest}{TRACE}", document)
    return True


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(data)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def usage(folder: Path, share: str) -> tuple[int, int]:
    """Pictures of a share and the bytes of all its files."""
    files = _listing(folder / share)
    return sum(path.suffix == PICTURE for _, path, _ in files), sum(size for _, _, size in files)


def trim(folder: Path, share: str, max_pictures: int, max_bytes: int) -> tuple[int, int]:
    """Remove the oldest pictures of a share that is beyond a limit, until it is clearly below both.

    Returns:
        Pictures and bytes that stay.
    """
    sizes: dict[str, int] = {}
    for _, path, size in sorted(_listing(folder / share), key=lambda item: (item[0], item[1].name)):
        if NAME.fullmatch(path.stem):
            sizes[path.stem] = sizes.get(path.stem, 0) + size
    count, total = len(sizes), sum(sizes.values())
    if count <= max_pictures and total <= max_bytes:
        return count, total
    for digest, size in sizes.items():
        if count <= max_pictures * FILL and total <= max_bytes * FILL:
            break
        _remove(folder / share, digest)
        count, total = count - 1, total - size
    return count, total


def forget(folder: Path, digests: Collection[str], share: str = HARD) -> int:
    """Remove pictures from a share, and say how many were there."""
    there = [digest for digest in digests if _exists(folder / share, digest)]
    for digest in there:
        _remove(folder / share, digest)
    return len(there)


def expire(folder: Path, days: float) -> int:
    """Remove pictures older than so many days, and what a killed writer left; say how many pictures."""
    now = time.time()
    removed: set[str] = set()
    for share in SHARES:
        for when, path, _ in _listing(folder / share):
            age = now - when
            if NAME.fullmatch(path.stem) and age > days * 86400:
                _remove(folder / share, path.stem)
                removed.add(path.stem)
            elif age > ORPHAN_SECONDS and not path.with_suffix(TRACE).exists():
                path.unlink(missing_ok=True)
    return len(removed)


def _listing(folder: Path) -> list[tuple[float, Path, int]]:
    """When it was written, path and size of every file in a share."""
    found: list[tuple[float, Path, int]] = []
    with suppress(FileNotFoundError), os.scandir(folder) as files:
        for file in files:
            # another process may have removed it meanwhile
            with suppress(FileNotFoundError):
                status = file.stat(follow_symlinks=False)
                found.append((status.st_mtime, Path(file.path), status.st_size))
    return found


def _exists(share: Path, digest: str) -> bool:
    return any((share / f"{digest}{suffix}").exists() for suffix in (TRACE, PICTURE))


def _remove(share: Path, digest: str) -> None:
    # the trace first: a picture without one is no entry
    for suffix in (TRACE, PICTURE):
        (share / f"{digest}{suffix}").unlink(missing_ok=True)
