"""Mined batches: immutable folders of pictures to label, data/mined of the pool and data/hard_cases/<date> of a day.

`tasks.mining.batch` writes them; labelling, review, monitoring and the daily flow read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.common.files import read_json, sha256_file
from tasks.data.schema import DataError, read_records

MINED, HARD_CASES = Path("data/mined"), Path("data/hard_cases")
BATCH, SHEET, MANIFEST = "batch.parquet", "sheet.jpg", "manifest.json"
REMEDY = "`dvc checkout` brings it back, or remove the batch and mine again"


def find_batches(mined: Path = MINED, hard_cases: Path = HARD_CASES) -> list[Path]:
    """The batches there are: the one of the pool, then the daily ones by date."""
    days = sorted(path for path in hard_cases.glob("*") if path.is_dir() and not path.name.startswith("."))
    return [*([mined] if mined.is_dir() else []), *days]


def finished_batch(batch: Path) -> dict[str, Any] | None:
    """The manifest of a batch; None where there is none, or where a killed run left files without a manifest.

    Raises:
        DataError: the manifest is damaged, or a file is not what it says.
    """
    return check_batch(batch) if (batch / MANIFEST).is_file() else None


def check_batch(batch: Path) -> dict[str, Any]:
    """Give a batch's manifest after every file that it lists was compared with its digest.

    Raises:
        DataError: names the file that is missing or altered.
    """
    try:
        manifest = read_json(batch / MANIFEST)
        files = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{batch / MANIFEST}: missing or damaged; {REMEDY}") from None
    for name, digest in files.items():
        if not (batch / name).is_file() or sha256_file(batch / name) != digest:
            raise DataError(f"{batch / name}: missing, or not what {MANIFEST} says; {REMEDY}")
    if BATCH not in files:
        raise DataError(f"{batch / MANIFEST}: does not list {BATCH}; {REMEDY}")
    return dict(manifest)


def batch_digests(batches: Iterable[Path]) -> set[str]:
    """The sha256 of every picture of the batches whose pictures are there."""
    files = [batch / BATCH for batch in batches if (batch / BATCH).is_file()]
    return {record["sha256"] for file in files for record in read_records(file, ["sha256"], batch=4096)}
