"""The labelled pictures that challenges are made of: the sample's challenge split, NATIX's test split, or a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.data.readers import SAMPLE, Rejected, hub_snapshot, read_path, split_of
from tasks.data.readers.parquet import parquet_files
from tasks.data.schema import DataError, ImageRow, split_file

CHALLENGE = "challenge"
# in place of a path: the dataset of `pull.data.repo`
HUB = "hub"
REAL, SYNTHETIC = "real", "synthetic"
# by the column `source`; mined pictures were taken by cameras
RENDERED = frozenset({"rendered", "sdxl"})
# what readers add for the pipeline
HINT = " (pull.data.path in params.yaml)"


@dataclass(frozen=True)
class Picture:
    """What is known of a picture without its pixels.

    Attributes:
        key: sha256 of its file.
        label: 0 clear, 1 roadwork.
        source: real or synthetic.
        place: pictures of one place are alike.
    """

    key: str
    label: int
    source: str
    place: str


def picture_path(given: str | None) -> Path:
    """The file or folder that a name stands for: none for the sample, `hub` for NATIX's dataset, else a path.

    Raises:
        DataError: the dataset cannot be fetched.
    """
    if given is None:
        return split_file(SAMPLE, CHALLENGE)
    if given != HUB:
        return Path(given)
    from tasks.common.hub import fetch_snapshot
    from tasks.config import load_params

    source = load_params().pull.data
    if source.revision is None:
        raise DataError("--pictures hub: set pull.data.revision in params.yaml, so that the pictures are pinned")
    return fetch_snapshot(hub_snapshot(source))


def list_pictures(path: Path) -> list[Picture]:
    """List the pictures once each, in order of their keys.

    Raises:
        DataError: there are none, or one label is missing.
    """
    found = {
        row.sha256: Picture(row.sha256, row.label, SYNTHETIC if row.source in RENDERED else REAL, row.place)
        for row in rows_of(path)
    }
    counts = Counter(picture.label for picture in found.values())
    if not (counts[0] and counts[1]):
        raise DataError(f"{path}: {counts[1]} pictures with roadworks and {counts[0]} without; challenges need both")
    return [found[key] for key in sorted(found)]


def rows_of(path: Path) -> Iterator[ImageRow]:
    """Read the rows of the part that is kept for measuring, where files or folders name it; else all.

    Raises:
        DataError: the path is missing or does not fit.
    """
    wanted = CHALLENGE if any(split_of(part) == CHALLENGE for part in _parts(path)) else None
    try:
        for row in read_path(path):
            if not isinstance(row, Rejected) and wanted in (None, row.split):
                yield row
    except DataError as error:
        raise DataError(str(error).replace(HINT, "")) from None


def _parts(path: Path) -> Sequence[Path]:
    """Files and folders whose names may tell a split."""
    if not path.is_dir():
        return [path]
    return parquet_files(path) or [sub for sub in path.iterdir() if sub.is_dir()]
