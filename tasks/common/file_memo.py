"""What was computed from files, kept as long as a file's size, time of its last change and inode stay the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.common.files import read_json, sha256, sha256_file, write_json

# A file younger than this could change once more within one tick of the file system's clock (2 s on FAT) and keep its
# size, so what was computed from it is not kept.
SETTLED_NS = 2_000_000_000
MISSING = "missing"


class FileMemo:
    """Results by file, in memory, and on disk where a path is given.

    Args:
        path: JSON file that `save` writes and the next process reads; a damaged one counts as empty.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known = _read(path) if path is not None else {}
        self._used: dict[str, list[Any]] = {}

    def get(self, kind: str, file: Path, compute: Callable[[Path], Any]) -> Any:
        """Give `compute(file)`, or what it gave for the same content before.

        Args:
            kind: name of the computation; what differs in it must have another name.
            file: is read only where its size, time or inode is not the one known.
            compute: gives JSON.

        Raises:
            OSError: no such file.
        """
        status = file.stat()
        name, mark = f"{kind}:{file}", [status.st_size, status.st_mtime_ns, status.st_ino]
        entry = self._known.get(name)
        if not (isinstance(entry, list) and len(entry) == 2 and entry[0] == mark):
            self._known.pop(name, None)
            entry = [mark, compute(file)]
            if time.time_ns() - status.st_mtime_ns < SETTLED_NS:
                return entry[1]
            self._known[name] = entry
        self._used[name] = entry
        return entry[1]

    def save(self) -> None:
        """Write what was used since the start; entries of files that are gone go with that."""
        if self._path is not None and self._used != _read(self._path):
            write_json(self._path, self._used)


# of this process, for callers that keep nothing on disk
MEMORY = FileMemo()


def digest_path(path: Path, memo: FileMemo = MEMORY) -> str:
    """Digest of a file's content, or of all files below a folder with their names; `missing` where there is nothing.

    Empty folders do not count, as in DVC.
    """
    if path.is_file():
        return str(memo.get("sha256", path, sha256_file))
    if not path.is_dir():
        return MISSING
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{digest_path(file, memo)} {file.relative_to(path).as_posix()}" for file in files]
    return sha256("\n".join(lines).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
