"""Which files are looked at: all that could be committed, and all that git has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 2_000_000  # a larger file is data; a phrase or a key is written by hand or by a tool of a few kilobytes
HEAD = 8192  # bytes in which a binary file has a zero
# other people's code, data by digest, and what is made anew at each run; never followed where git does not list files
SKIPPED = {".git", ".venv", ".dvc/cache", ".dvc/tmp", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache"}


def working_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Give path and content of the text files of a tree, what git ignores too but for large folders of others."""
    for name in sorted(_names(root)):
        text = read_text(root / name)
        if text is not None:
            yield name, text


def tracked_names(root: Path) -> list[str]:
    """Names of the files that git has or would take; where there is no git, of all."""
    found = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if found is None:
        return sorted(_walk(root))
    return sorted(name for name in found.decode("utf-8", "surrogateescape").split("\0") if name)


def read_text(path: Path) -> bytes | None:
    """Content of a file; None where it is no text, too large or cannot be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        with path.open("rb") as file:
            # of a picture, only this
            head = file.read(HEAD)
            return head + file.read() if is_text(head) else None
    except OSError:
        return None


def is_text(content: bytes) -> bool:
    """Whether a file holds text: a zero stands early in nearly every binary format."""
    return b"\0" not in content[:HEAD]


def _names(root: Path) -> set[str]:
    # a wallet that git ignores is one `git add -f`, one container image or one backup away
    return {*_walk(root), *tracked_names(root)}


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        place = Path(folder).relative_to(root)
        folders[:] = [one for one in folders if one not in SKIPPED and (place / one).as_posix() not in SKIPPED]
        yield from ((place / one).as_posix() for one in files)


def git(root: Path, *words: str, given: bytes | None = None) -> bytes | None:
    """What git prints for what it is given; None where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *words], cwd=root, input=given, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
