"""Where mining finds pictures: the pool split, the service's inbox, a folder, clips of a dashcam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cascade.inbox.store import Entry, InboxError, entries
from cascade.preprocess.image import BadImage, decode
from cascade.probability import LABEL_NUMBERS
from tasks.common.files import sha256
from tasks.data.readers import IMAGES, Rejected, read_parquets, read_path
from tasks.data.schema import DataError, ImageRow
from tasks.mining.clips import VIDEOS, ClipError, frames

# looked at before a file is read; no camera writes more
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
        pool: a parquet file in our schema; its labels are not looked at.
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
    for found in _all(pool, inbox, folder, videos, frames_per_second, max_pixels):
        if isinstance(found, Rejected):
            report.append(found)
        elif found.sha256 not in seen:
            seen.add(found.sha256)
            try:
                decode(found.data, max_pixels=max_pixels, min_side=min_side)
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
    pool: Path | None, inbox: Path | None, folder: Path | None, videos: Sequence[Path], rate: float, max_pixels: int
) -> Iterator[Candidate | Rejected]:
    """The inbox first: a picture that lies in two sources keeps the answer that the service gave."""
    if inbox is not None:
        yield from filter(None, map(_kept, entries(inbox)))
    if folder is not None:
        yield from _folder(folder)
    for clip in videos:
        yield from _clip(clip, rate, max_pixels)
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
    if (folder / "manifest.csv").is_file() or list(folder.rglob("*.parquet")) or _has_classes(folder):
        for row in read_path(folder):
            yield _labelled(row, "folder")
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() not in VIDEOS):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield _file(path, folder)


def _has_classes(folder: Path) -> bool:
    return any(sub.is_dir() and sub.name.lower() in LABEL_NUMBERS for sub in folder.iterdir())


def _file(path: Path, folder: Path) -> Candidate | Rejected:
    name = path.relative_to(folder).as_posix()
    if path.suffix.lower() not in IMAGES:
        return Rejected("folder", name, "not_an_image", f"{path.suffix or 'no suffix'} is not a suffix of an image")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            return Rejected("folder", name, "too_large", f"{size} bytes; at most {MAX_FILE_BYTES} are read")
        data = path.read_bytes()
    except OSError as error:
        return Rejected("folder", name, "unreadable", str(error.strerror))
    digest = sha256(data)
    # pictures of one subfolder are taken for one drive; those at the top have nothing in common
    place = digest if path.parent == folder else path.parent.relative_to(folder).as_posix()
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


def _clip(clip: Path, rate: float, max_pixels: int) -> Iterator[Candidate | Rejected]:
    try:
        for seconds, data in frames(clip, rate, max_pixels=max_pixels):
            name = f"{clip.name}@{seconds:.2f}s"
            yield Candidate(data=data, name=name, sha256=sha256(data), place=clip.name, origin="video", reason="video")
    except ClipError as error:
        # the frames before the damage are sound and stay
        yield Rejected("video", clip.name, error.reason, str(error))
