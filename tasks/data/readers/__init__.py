"""One stream of rows out of the committed sample, the Hub, or a user's parquet files or folder of images."""

from __future__ import annotations

from tasks.data.readers.beside import read_all
from tasks.data.readers.parquet import read_parquets
from tasks.data.readers.rows import ORDER, Rejected, split_of
from tasks.data.readers.source import HUB_CACHE, SAMPLE, hub_snapshot, read_path, read_rows

__all__ = [
    "HUB_CACHE",
    "ORDER",
    "SAMPLE",
    "Rejected",
    "hub_snapshot",
    "read_all",
    "read_parquets",
    "read_path",
    "read_rows",
    "split_of",
]
