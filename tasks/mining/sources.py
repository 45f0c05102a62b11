"""Where mining finds pictures: the pool split, the service's inbox, a folder, clips of a dashcam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade.decoding.pool import Decoders
from cascade.inbox.store import Entry, InboxError, entries
from cascade.labelled.files import find_pictures, printable, sidecar
from cascade.labelled.folder import class_folders
from cascade.labelled.manifest import MANIFEST
from cascade.preprocess.image import BadImage
from tasks.common.files import sha256
from tasks.data.readers import Rejected, read_parquets, read_path
from tasks.data.readers.parquet import parquet_files
from tasks.data.schema import DataError, ImageRow
from tasks.mining.clips import frames

# checked before a file is read; no camera writes more
MAX_FILE_BYTES = 64_000_000


@dataclass(frozen=True)
class Candidate:
    """A picture that nobody has labelled for training yet.

    Attributes:
        data: the image file's bytes; it decodes within the limits.
        name: what people call it: a path, a row of a parquet file, a frame as `clip.mp4@12.50s`.
        sha256: of `data`.
        place: split key: pictures of one place never lie in two splits. A clip is one place; a lone picture is its own.
        origin: which source.
        reason: why it is here: that of the inbox (uncertain, disagreement, control), or the origin.
        probability: what the service answered, for pictures of the inbox.
        slices: what the source says of time, weather and so on.
    """

    data: bytes = field(repr=False)
    name: str
    sha256: str
    place: str
    origin: Literal["pool", "inbox", "folder", "video"]
    reason: str
    probability: float | None = None
    slices: dict[str, str] = field(default_factory=dict)


def gather(
    *,
    pool: Path | None = None,
    inbox: Path | None = None,
    folder: Path | None = None,
    videos: Sequence[Path] = (),
    frames_per_second: float = 1.0,
    max_pixels: int,
    min_side: int,
    rejected: list[Rejected] | None = None,
) -> Iterator[Candidate]:
    """Give each picture once, in an order that depends on the sources alone; one picture is held at a time.

    Args:
        pool: a parquet file in our schema; its labels are not used.
        inbox: the folder that the service fills. A picture that is removed meanwhile is passed over.
        folder: pictures at any depth, labelled or not.
        videos: clips.
        frames_per_second: of a clip's own time.
        max_pixels: a larger picture is refused before it is decoded.
        min_side: px; so is one whose shorter side is less.
        rejected: gets every picture that cannot be used, with its reason. None of them ends the reading.

    Raises:
        DataError: the pool, the folder or a clip is missing.
    """
    report = rejected if rejected is not None else []
    _check(pool, folder, videos)
    seen: set[str] = set()
    with Decoders(pictures=1) as decoders:
        for found in _all(pool, inbox, folder, videos, frames_per_second, max_pixels, decoders):
            if isinstance(found, Rejected):
                report.append(found)
            elif found.sha256 not in seen:
                seen.add(found.sha256)
                try:
                    decoders.decode(found.data, max_pixels=max_pixels, min_side=min_side)
                except BadImage as error:
                    report.append(Rejected(found.origin, found.name, error.reason, str(error)))
                else:
                    yield found


def _check(pool: Path | None, folder: Path | None, videos: Sequence[Path]) -> None:
    for path in (pool, *videos):
        if path is not None and not path.is_file():
            raise DataError(f"{path}: no such file to mine")
    if folder is not None and not folder.is_dir():
        raise DataError(f"{folder}: no such folder to mine")


def _all(
    pool: Path | None,
    inbox: Path | None,
    folder: Path | None,
    videos: Sequence[Path],
    rate: float,
    max_pixels: int,
    decoders: Decoders,
) -> Iterator[Candidate | Rejected]:
    """The inbox first: a picture that lies in two sources keeps the answer that the service gave."""
    if inbox is not None:
        yield from filter(None, map(_kept, entries(inbox)))
    if folder is not None:
        yield from _folder(folder)
    for clip in videos:
        yield from _clip(clip, rate, max_pixels, decoders)
    if pool is not None:
        for row in read_parquets([pool]):
            yield _labelled(row, "pool")


def _kept(entry: Entry) -> Candidate | Rejected | None:
    name = f"{entry.share}/{entry.sha256}"
    try:
        data, trace = entry.load()
    except FileNotFoundError:
        return None
    except (InboxError, OSError) as error:
        return Rejected("inbox", name, "damaged", str(error))
    return Candidate(
        data=data,
        name=name,
        sha256=entry.sha256,
        place=entry.sha256,
        origin="inbox",
        reason=str(trace.get("reason", entry.share)),
        probability=_probability(trace),
    )


def _probability(trace: dict[str, Any]) -> float | None:
    value = trace.get("probability")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= 1 else None


def _folder(folder: Path) -> Iterator[Candidate | Rejected]:
    """A labelled folder as the data pull reads it, which knows its groups; otherwise every picture below it."""
    if (folder / MANIFEST).is_file() or parquet_files(folder) or class_folders(folder):
        for row in read_path(folder):
            yield _labelled(row, "folder")
        return
    found = find_pictures(folder)
    for path in found.pictures:
        yield _file(path, folder)
    for one in (*found.left_out, *map(sidecar, found.sidecars)):
        # a clip is mined where it is named as one
        if one.reason != "clip":
            yield Rejected("folder", printable(one.path.relative_to(folder)), one.reason, one.detail)


def _file(path: Path, folder: Path) -> Candidate | Rejected:
    name = printable(path.relative_to(folder).as_posix())
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            return Rejected("folder", name, "too_large", f"{size} bytes; at most {MAX_FILE_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        return Rejected("folder", name, "unreadable", str(error.strerror))
    digest = sha256(data)
    # pictures of one subfolder are taken for one drive; those at the top have nothing in common
    place = digest if path.parent == folder else printable(path.parent.relative_to(folder).as_posix())
    return Candidate(data=data, name=name, sha256=digest, place=place, origin="folder", reason="folder")


def _labelled(row: ImageRow | Rejected, origin: Literal["pool", "folder"]) -> Candidate | Rejected:
    if isinstance(row, Rejected):
        return row
    return Candidate(
        data=row.data,
        name=row.name,
        sha256=row.sha256,
        place=row.place,
        origin=origin,
        reason=origin,
        slices={key: value for key, value in row.slices.items() if value},
    )


def _clip(clip: Path, rate: float, max_pixels: int, decoders: Decoders) -> Iterator[Candidate | Rejected]:
    try:
        for seconds, data in frames(clip, rate, max_pixels=max_pixels, decoders=decoders):
            name = f"{clip.name}@{seconds:.2f}s"
            yield Candidate(data=data, name=name, sha256=sha256(data), place=clip.name, origin="video", reason="video")
    except BadImage as error:
        # the frames before the damage are sound and stay
        yield Rejected("video", clip.name, error.reason, str(error))
