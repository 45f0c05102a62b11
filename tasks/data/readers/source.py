"""From the section `pull.data` of the parameters to rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cascade.labelled.class_names import COMMON, ClassNames
from tasks.common.hub import Snapshot, fetch_snapshot
from tasks.config import DataSource
from tasks.data.readers.folder import read_folder
from tasks.data.readers.parquet import parquet_files, read_parquets
from tasks.data.readers.rows import Rejected
from tasks.data.schema import DataError, ImageRow

SAMPLE = Path("data/sample")
HUB_CACHE = Path("var/hub")


def read_rows(source: DataSource, sample: Path = SAMPLE, cache: Path = HUB_CACHE) -> Iterator[ImageRow | Rejected]:
    """Read a source.

    Raises:
        DataError: the source is missing, empty or of another schema.
        HubError: the Hub refuses or does not answer.
    """
    if source.source == "folder":
        assert source.path is not None, "DataSource requires it"  # noqa: S101
        return read_path(source.path, source.classes.names, source.seed)
    folder = sample if source.source == "sample" else fetch_snapshot(hub_snapshot(source, cache))
    files = parquet_files(folder)
    if not files:
        raise DataError(f"{folder}: holds no parquet files")
    return read_parquets(files, source.classes.names, source.seed)


def read_path(path: Path, classes: ClassNames = COMMON, seed: int = 0) -> Iterator[ImageRow | Rejected]:
    """Read a user's parquet file, folder of parquet files, or folder of images.

    Args:
        path: file or folder.
        classes: names of labels and class folders.
        seed: of the sharing of places where the source has no splits.

    Raises:
        DataError: it is missing or empty, or does not fit.
    """
    if path.is_file():
        return read_parquets([path], classes, seed)
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder (pull.data.path in params.yaml)")
    if files := parquet_files(path):
        return read_parquets(files, classes, seed)
    if arrow := next(path.rglob("*.arrow"), None):
        raise DataError(f"{arrow}: Arrow files of `save_to_disk` are not read; write parquet: `data.to_parquet(...)`")
    return read_folder(path, classes, seed)


def hub_snapshot(source: DataSource, cache: Path = HUB_CACHE) -> Snapshot:
    """The parquet files of a dataset of the Hub at the pinned revision."""
    folder = cache / source.repo.replace("/", "--") / str(source.revision)
    patterns = ("*.parquet", "**/*.parquet")
    return Snapshot(source.repo, str(source.revision), "dataset", folder, patterns, key="pull.data.revision")
