"""One stream of rows out of the committed sample, the Hub, or a user's parquet files or folder of images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.probability import LABEL_NUMBERS
from tasks.common.files import sha256
from tasks.common.hub import Snapshot, fetch_snapshot
from tasks.config import DataSource
from tasks.data.schema import SLICES, SPLITS, DataError, ImageRow, check_columns, read_records

SAMPLE = Path("data/sample")
HUB_CACHE = Path("var/hub")
# in this order, so that a picture that lies in two splits stays where it is measured and leaves where it is learned
ORDER = ("challenge", "calibration", "train", "pool")
# how other people's files call the part that is kept for measuring
STEMS = {"test": "challenge", "validation": "calibration", "val": "calibration"} | {name: name for name in SPLITS}
IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


@dataclass(frozen=True)
class Rejected:
    """A row that cannot be used, for the quarantine report.

    Attributes:
        source: the file that it came from.
        name: the image.
        reason: one word.
        detail: a sentence.
    """

    source: str
    name: str
    reason: str
    detail: str


def read_rows(source: DataSource, sample: Path = SAMPLE, cache: Path = HUB_CACHE) -> Iterator[ImageRow | Rejected]:
    """Read a source.

    Raises:
        DataError: the source is missing, empty or of another schema.
        HubError: the Hub refuses or does not answer.
    """
    if source.source == "sample":
        return read_parquets(_parquets(sample))
    if source.source == "hub":
        return read_parquets(_parquets(fetch_snapshot(hub_snapshot(source, cache))), fixed=("challenge",))
    assert source.path is not None, "DataSource requires it"  # noqa: S101
    return read_path(source.path)


def read_path(path: Path) -> Iterator[ImageRow | Rejected]:
    """Read a user's parquet file, folder of parquet files, or folder of images."""
    if path.is_file():
        return read_parquets([path])
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder (pull.data.path in params.yaml)")
    if list(path.rglob("*.parquet")):
        return read_parquets(_parquets(path))
    return _read_manifest(path) if (path / "manifest.csv").is_file() else _read_classes(path)


def _parquets(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*.parquet"), key=lambda path: (_rank(path), str(path)))
    if not files:
        raise DataError(f"{folder}: holds no parquet files")
    return files


def _rank(path: Path) -> int:
    split = split_of(path)
    return ORDER.index(split) if split else len(ORDER)


def split_of(path: Path) -> str:
    """The split that a file's name tells: train.parquet, test-00000-of-00003.parquet; "" where it tells none."""
    return STEMS.get(path.stem.split("-")[0], "")


def read_parquets(files: list[Path], fixed: tuple[str, ...] = SPLITS) -> Iterator[ImageRow | Rejected]:
    """Read parquet files, each checked before the first row of any is read.

    Args:
        files: in reading order.
        fixed: splits that are kept as the file's name tells; rows of others are split by place later.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            schema = pq.read_schema(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path}: not a parquet file that can be read: {error}") from None
        check_columns(path, schema)
    return _rows(files, fixed)


def _rows(files: list[Path], fixed: tuple[str, ...]) -> Iterator[ImageRow | Rejected]:
    for path in files:
        split = split_of(path)
        for number, record in enumerate(read_records(path)):
            yield _row(record, f"{path.name}#{number}", str(path), split if split in fixed else "")


def _row(record: dict[str, Any], fallback: str, source: str, split: str) -> ImageRow | Rejected:
    image, label = record["image"], record["label"]
    data = image.get("bytes") if isinstance(image, dict) else image
    name = (image.get("path") if isinstance(image, dict) else None) or fallback
    if data is None:
        return Rejected(source, name, "empty", "the row holds no image bytes")
    if label not in (0, 1):
        return Rejected(source, name, "bad_label", f"label is {label}; expected 0 or 1")
    digest = sha256(data)
    return ImageRow(
        data=data,
        name=name,
        label=int(label),
        sha256=digest,
        place=record.get("place") or digest,
        split=split,
        scene_description=record.get("scene_description") or "",
        source=record.get("source") or "real",
        objects=tuple(record.get("objects") or ()),
        slices={key: record.get(key) or "" for key in SLICES},
    )


def _read_classes(folder: Path) -> Iterator[ImageRow | Rejected]:
    """Images under `roadwork/` and `clear/` (also 1/, 0/, none/)."""
    found = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name.lower() in LABEL_NUMBERS]
    if not found:
        raise DataError(f"{folder}: holds no parquet files, no manifest.csv and no subfolders roadwork/ and clear/")
    for sub in found:
        for path in sorted(item for item in sub.rglob("*") if item.is_file()):
            yield _file_row(path, str(path.relative_to(folder)), LABEL_NUMBERS[sub.name.lower()], "")


def _read_manifest(folder: Path) -> Iterator[ImageRow | Rejected]:
    """Images that manifest.csv lists in columns file and label, and group where frames belong together."""
    manifest = folder / "manifest.csv"
    with manifest.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in ("file", "label") if name not in (reader.fieldnames or [])]
        if missing:
            raise DataError(f"{manifest}: missing column {', '.join(map(repr, missing))}")
        entries = list(reader)
    for entry in entries:
        label = LABEL_NUMBERS.get((entry["label"] or "").strip().lower())
        if label is None:
            detail = f"label is {entry['label']!r}; expected one of {', '.join(LABEL_NUMBERS)}"
            yield Rejected(str(manifest), entry["file"], "bad_label", detail)
            continue
        yield _file_row(folder / entry["file"], entry["file"], label, entry.get("group") or "")


def _file_row(path: Path, name: str, label: int, group: str) -> ImageRow | Rejected:
    if not path.is_file():
        return Rejected(str(path), name, "missing", "no such file")
    if path.suffix.lower() not in IMAGES:
        return Rejected(str(path), name, "not_an_image", f"{path.suffix or 'no suffix'} is not a suffix of an image")
    data = path.read_bytes()
    digest = sha256(data)
    return ImageRow(data=data, name=name, label=label, sha256=digest, place=group or digest)


def hub_snapshot(source: DataSource, cache: Path = HUB_CACHE) -> Snapshot:
    """The parquet files of a dataset of the Hub, at the pinned revision."""
    folder = cache / source.repo.replace("/", "--") / str(source.revision)
    patterns = ("*.parquet", "**/*.parquet")
    return Snapshot(source.repo, str(source.revision), "dataset", folder, patterns, key="pull.data.revision")
