"""All text that git has: every blob that a branch, a tag or a stash reaches, each once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tasks.secret_scan.files import HEAD, MAX_BYTES, git, is_text


class NoHistoryError(ValueError):
    """There is no git repository here, or it cannot be read."""


@dataclass(frozen=True)
class Blob:
    """A file of the history: its object id, one path that it had, and its content."""

    id: str
    path: str
    text: bytes


def text_blobs(root: Path) -> Iterator[Blob]:
    """Give the text files of all history, those of the newest commits first.

    Raises:
        NoHistoryError: there is no repository.
    """
    names = _names(root)
    if not names:
        return
    with TemporaryFile() as wanted:
        # a file and no pipe: git may write before it has read all names
        wanted.write("\n".join(names).encode() + b"\n")
        wanted.seek(0)
        command = ["git", "cat-file", "--batch", "--buffer"]
        with subprocess.Popen(command, cwd=root, stdin=wanted, stdout=subprocess.PIPE) as child:
            try:
                yield from _read(child.stdout, names) if child.stdout else ()
            finally:
                # whoever stops early leaves git with more to say
                child.kill()


def commit_of(root: Path, blob: str) -> str | None:
    """The first commit that has a blob; None where git cannot say."""
    found = git(root, "log", "--all", "--format=%H", f"--find-object={blob}")
    commits = (found or b"").decode().split()
    return commits[-1] if commits else None


def _names(root: Path) -> dict[str, str]:
    """Path by object id of the blobs that are small enough."""
    listed = git(root, "rev-list", "--objects", "--all")
    if listed is None:
        raise NoHistoryError("there is no git repository here")
    paths = dict(line.split(" ", 1) for line in listed.decode("utf-8", "replace").splitlines() if " " in line)
    sizes = git(root, "cat-file", "--batch-check", given="\n".join(paths).encode()) or b""
    found: dict[str, str] = {}
    for line in sizes.decode().splitlines():
        name, kind, size = [*line.split(), "", "0"][:3]
        if kind == "blob" and int(size) <= MAX_BYTES:
            found[name] = paths[name]
    return found


def _read(stdout: IO[bytes], names: dict[str, str]) -> Iterator[Blob]:
    while header := stdout.readline().split():
        content = stdout.read(int(header[2]))
        stdout.read(1)
        name = header[0].decode()
        if is_text(content[:HEAD]):
            yield Blob(name, names[name], content)
