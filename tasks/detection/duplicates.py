"""Pictures of a COCO source that a split measures with: a detector that was trained on them cannot be judged there.

NATIX's columns look like those of ROADWork, and nothing says that its pictures are others. Places of two collections
have no names in common, so the pictures themselves are compared, by perceptual hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tasks.common.files import write_bytes
from tasks.config.detect import CocoSource
from tasks.data.annotated_images import HELD_OUT, AnnotatedImage
from tasks.data.near_duplicates import SIDE, near_pairs, thumbnail
from tasks.data.pictures import decode_small
from tasks.data.schema import DataError, read_records, split_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIST = "duplicates.txt"
# px that a JPEG is decoded to: enough for the 32 of a thumbnail
DECODED = 8 * SIDE
NAMED = 3  # pairs in the message


@dataclass(frozen=True)
class Duplicate:
    """A file of the source, the split that holds its picture too, and that picture's digest there."""

    file: str
    held_out: Path
    digest: str


def refuse_duplicates(
    pictures: Sequence[AnnotatedImage], source: CocoSource, pulled: Path, bits: int, work: Path
) -> None:
    """Compare the pictures of a COCO source with the splits that are measured on.

    Args:
        pictures: of the source.
        source: names its files, for the message.
        pulled: the splits as parquet.
        bits: of 64 in which hashes of the same picture may differ.
        work: folder that takes LIST, the source's pictures that are held out.

    Raises:
        DataError: there are some; it names them, how to look at them, and how to leave them out.
    """
    ours, _ = _thumbnails(((picture.key, _bytes(picture)) for picture in pictures), "detect.coco")
    found: list[Duplicate] = []
    for path in (split_file(pulled, split) for split in HELD_OUT):
        if path.is_file():
            rows = read_records(path, columns=["image", "sha256"])
            theirs, digests = _thumbnails(((row["sha256"], row["image"]["bytes"]) for row in rows), path.stem)
            pairs = near_pairs(ours, theirs, bits)
            found += [Duplicate(str(pictures[i].image), path, digests[j][:12]) for i, j, _ in pairs]
    if found:
        raise DataError(_message(found, source, _write(found, source, work)))


def _bytes(picture: AnnotatedImage) -> bytes:
    return picture.image.read_bytes() if isinstance(picture.image, Path) else picture.image


def _thumbnails(files: Iterable[tuple[str, bytes]], what: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Grey levels, (n, 32, 32), and names of pictures; one file is in memory at a time."""
    found: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for name, data in tqdm(files, desc=f"near-duplicates: {what}", unit="img", disable=None):
        found.append(thumbnail(decode_small(data, DECODED)))
        names.append(name)
    return np.array(found, dtype=np.uint8).reshape(-1, SIDE, SIDE), names


def _write(found: Sequence[Duplicate], source: CocoSource, work: Path) -> Path:
    """File names as the COCO file has them, one a line, with those that were left out already."""
    known = source.left_out.read_text(encoding="utf-8").splitlines() if source.left_out else []
    names = {Path(one.file).relative_to(source.images.absolute()).as_posix() for one in found} | set(known)
    path = work / LIST
    write_bytes(path, "".join(f"{name}\n" for name in sorted(names)).encode())
    return path


def _message(found: Sequence[Duplicate], source: CocoSource, written: Path) -> str:
    shown = ", ".join(f"{one.file} = {one.digest} of {one.held_out}" for one in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return (
        f"{source.annotations}: {len(found)} of its pictures are measured with: {shown}{more}. Detectors that are "
        f"trained on them cannot be judged. `streetvision data check {found[0].held_out} --against {source.images}` "
        f"shows them; `detect.coco.left_out: {written}` leaves them out"
    )
