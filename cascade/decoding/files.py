"""Files of the user's own disk through the same decoder, limits and processes as what the service is sent."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path

from cascade.config import ServeParams
from cascade.decoding.pool import Decoders
from cascade.preprocess.image import BadImage, Decoded
from cascade.video.containers import HEAD_BYTES, is_clip


def read_picture(path: Path, serve: ServeParams, decoders: Decoders) -> Decoded:
    """Read and decode a picture under the service's limits.

    Raises:
        BadImage: it cannot be read, is no file, is larger than `max_bytes`, or does not decode.
    """
    return decoders.decode(read_file(path, serve.max_bytes), max_pixels=serve.max_pixels, min_side=serve.min_side)


def read_file(path: Path, max_bytes: int) -> bytes:
    """Read a picture's file.

    Raises:
        BadImage: it cannot be read, is no file, or is larger than `max_bytes`.
    """
    try:
        _check_file(path)
        if path.stat().st_size > max_bytes:
            raise BadImage("too_large", f"the file is larger than {max_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadImage("unreadable", f"the file cannot be read: {error.strerror}") from None


def is_clip_file(path: Path) -> bool:
    """Whether a file is a clip by its first bytes, whatever its name.

    Raises:
        BadImage: it cannot be read, or is no file.
    """
    try:
        _check_file(path)
        with path.open("rb") as file:
            return is_clip(file.read(HEAD_BYTES))
    except OSError as error:
        raise BadImage("unreadable", f"the file cannot be read: {error.strerror}") from None


def find_clips(folder: Path) -> list[Path]:
    """The clips at any depth of a folder, by their content; what cannot be read is none."""
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(BadImage):
            if path.is_file() and is_clip_file(path):
                found.append(path)
    return found


def _check_file(path: Path) -> None:
    """Opening a pipe would wait for somebody to write into it."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise BadImage("unreadable", "the path is a folder; give the files in it")
    if not stat.S_ISREG(mode):
        raise BadImage("unreadable", "the path is neither a file nor a folder")
