"""From a stream of rows to data/pulled: decoded once, without duplicates, split by place, nothing lost unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tasks.common.metrics import write_metrics
from cascade.preprocess.image import BadImage
from tasks.common.files import new_folder, sha256_file, write_json
from tasks.config import PullParams
from tasks.data.cross_splits import resolve_near_duplicates
from tasks.data.doctor.page import write_pages
from tasks.data.doctor.report import examine_set
from tasks.data.examine import CHUNK, examine
from tasks.data.ledger import Ledger, write_quarantine
from tasks.data.readers import Rejected, read_all
from tasks.data.schema import SPLITS, ImageRow, arrow_schema, split_file

PULLED = Path("data/pulled")
REPORT = Path("reports/pull/metrics.json")
HEADLINE = ("duplicates", "quarantined")
QUARANTINE = "quarantine.csv"


def pull_data(params: PullParams, folder: Path = PULLED, report: Path = REPORT) -> dict[str, Any]:
    """Read the configured source into `folder`: a parquet file a split, quarantine.csv, and manifest.json.

    What the dataset doctor says of it goes beside `report`, as doctor.json, doctor.md and doctor.jpg.

    Returns:
        The counts, as written to `report`.

    Raises:
        DataError: wrong schema, a place in two splits, near-duplicates across splits, or a split without both classes.
    """
    return build(read_all(params), params, folder, report)


def build(rows: Iterable[ImageRow | Rejected], params: PullParams, folder: Path, report: Path) -> dict[str, Any]:
    """Do what `pull_data` does, with rows that are given."""
    ledger = Ledger()
    with new_folder(folder) as partial:
        _write_splits(rows, params, ledger, partial)
        ledger.check_classes()
        resolve_near_duplicates(ledger, params.near_duplicate_bits, partial)
        ledger.check_classes()
        write_quarantine(partial / QUARANTINE, ledger.rejected)
        counts = ledger.counts()
        files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
        write_json(partial / "manifest.json", {"files": files, "counts": counts})
    write_metrics(report, counts, HEADLINE)
    write_pages(examine_set(list(ledger.facts.values()), ledger.rejected, bits=params.near_duplicate_bits), folder, report.parent)
    return counts


def _write_splits(rows: Iterable[ImageRow | Rejected], params: PullParams, ledger: Ledger, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    waiting: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    writers = {split: pq.ParquetWriter(split_file(folder, split), schema) for split in SPLITS}
    try:
        for row in _usable(rows, params, ledger):
            waiting[row.split].append(row.to_record())
            if len(waiting[row.split]) == CHUNK:
                writers[row.split].write_table(pa.Table.from_pylist(waiting[row.split], schema))
                waiting[row.split] = []
        for split, records in waiting.items():
            writers[split].write_table(pa.Table.from_pylist(records, schema))
    finally:
        for writer in writers.values():
            writer.close()


def _usable(rows: Iterable[ImageRow | Rejected], params: PullParams, ledger: Ledger) -> Iterator[ImageRow]:
    """Pass on what decodes and is new, in the order of the source; the ledger keeps the rest."""
    with tqdm(desc="pull", unit="image") as bar:
        for item, result in examine(rows, max_pixels=params.max_pixels, min_side=params.min_side):
            bar.update()
            if isinstance(item, Rejected):
                ledger.rejected.append(item)
            elif isinstance(result, BadImage):
                ledger.rejected.append(Rejected(item.origin or item.source, item.name, result.reason, str(result)))
            elif result is not None and (row := ledger.accept(item, result)) is not None:
                yield row
