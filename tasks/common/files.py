"""Writing so that a kill at any moment leaves either the old content or the new, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def sha256(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file's content in one step; parents are made, and an error leaves no half file behind.

    Args:
        path: the file; several processes may write it at once, and the last one wins.
        data: all of it.
        durable: wait until the disk has it. Off for what is written again where it is missing or cut off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """Write JSON in one step: sorted keys and no NaN, so that the same numbers give the same bytes."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which takes the place of `final` when the block ends without an error.

    Where `final` is a link to a folder, perhaps on a larger disk, the link stays and the folder behind it is replaced.
    An error leaves `final` as it was; what a killed run left beside it is cleared by the next one.

    Raises:
        OSError: safetensors could not write, which has an error of its own for a full disk.
    """
    from safetensors import SafetensorError

    final = final.resolve()
    partial, old = final.with_name(f".{final.name}.partial"), final.with_name(f".{final.name}.old")
    if old.exists() and not final.exists():
        old.rename(final)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{final}: {error}") from error
        raise
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)
