"""var/media: the files of pictures, where FiftyOne finds them."""

from __future__ import annotations

from pathlib import Path

from tasks.common.files import write_bytes

MEDIA = Path("var/media")


def media_file(sha256: str, folder: Path = MEDIA) -> Path:
    """Where a picture's file lies; the suffix is always .jpg, since programs go by the content."""
    return folder / f"{sha256}.jpg"


def keep_media(sha256: str, data: bytes, folder: Path = MEDIA) -> Path:
    """Put a picture's file where FiftyOne finds it; one of the same size stays."""
    path = media_file(sha256, folder)
    if not path.is_file() or path.stat().st_size != len(data):
        # a file that a power cut shortened has another size and is written again
        write_bytes(path, data, durable=False)
    return path
