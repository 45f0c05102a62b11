"""From a stream of rows to data/pulled: decoded once, without duplicates, split by place, nothing lost unseen."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cascade.decoding.pool import Decoders, cores
from cascade.preprocess.image import BadImage
from tasks.common.files import new_folder, sha256_file, write_bytes, write_json
from tasks.config import PullParams
from tasks.data.near_duplicates import near_pairs, thumbnail
from tasks.data.readers import Rejected, read_rows
from tasks.data.readers.splits import BOTH_CLASSES, split_of_place
from tasks.data.schema import SPLITS, DataError, ImageRow, arrow_schema, split_file

PULLED = Path("data/pulled")
REPORT = Path("reports/pull/metrics.json")
QUARANTINE = "quarantine.csv"
CHUNK = 64
SHOWN = 20


@dataclass
class Ledger:
    """What became of every row that was read."""

    rejected: list[Rejected] = field(default_factory=list)
    duplicates: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    thumbnails: dict[str, list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))


def pull_data(params: PullParams, folder: Path = PULLED, report: Path = REPORT) -> dict[str, Any]:
    """Read the configured source into `folder`: a parquet file a split, quarantine.csv, and manifest.json.

    Returns:
        The counts, as written to `report`.

    Raises:
        DataError: wrong schema, a place in two splits, near-duplicates across splits, or a split without both classes.
    """
    return build(read_rows(params.data), params, folder, report)


def build(rows: Iterable[ImageRow | Rejected], params: PullParams, folder: Path, report: Path) -> dict[str, Any]:
    """Do what `pull_data` does, with rows that are given."""
    ledger = Ledger()
    with new_folder(folder) as partial:
        _write_splits(rows, params, ledger, partial)
        _check_classes(ledger)
        _check_near(ledger, params.near_duplicate_bits)
        _write_quarantine(partial / QUARANTINE, ledger.rejected)
        counts = _counts(ledger)
        files = {path.name: sha256_file(path) for path in sorted(partial.iterdir())}
        write_json(partial / "manifest.json", {"files": files, "counts": counts})
    write_json(report, counts)
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
        for item, result in _examined(rows, params):
            bar.update()
            if isinstance(item, Rejected):
                ledger.rejected.append(item)
            elif isinstance(result, BadImage):
                ledger.rejected.append(Rejected(item.source, item.name, result.reason, str(result)))
            elif (row := _accept(item, ledger)) is not None and result is not None:
                ledger.thumbnails[row.split].append(result)
                yield row


Examined = tuple[ImageRow | Rejected, NDArray[np.uint8] | BadImage | None]


def _examined(rows: Iterable[ImageRow | Rejected], params: PullParams) -> Iterator[Examined]:
    """Decode on all cores, a chunk at a time, in processes that can be ended: a file may be made to take for ever."""
    workers = cores()

    def examine(item: ImageRow | Rejected) -> Examined:
        if isinstance(item, Rejected):
            return item, None
        try:
            decoded = decoders.decode(item.data, max_pixels=params.max_pixels, min_side=params.min_side)
            return item, thumbnail(decoded.image)
        except BadImage as error:
            return item, error

    stream = iter(rows)
    with Decoders(pictures=workers) as decoders, ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(stream, CHUNK)):
            yield from pool.map(examine, chunk)


def _accept(row: ImageRow, ledger: Ledger) -> ImageRow | None:
    """Give the row with its split; None for a duplicate, and for one whose twin has the other label."""
    known = ledger.labels.get(row.sha256)
    if known is not None and known != row.label:
        detail = f"the same bytes came before with label {known}"
        ledger.rejected.append(Rejected(row.source, row.name, "conflicting_label", detail))
        return None
    if known is not None:
        ledger.duplicates += 1
        return None
    row = replace(row, split=row.split or split_of_place(row.place))
    home = ledger.splits.setdefault(row.place, row.split)
    if home != row.split:
        raise DataError(f"place {row.place!r} lies in {home} and in {row.split} ({row.name}); a place has one split")
    ledger.labels[row.sha256] = row.label
    ledger.counts[row.split, row.label] += 1
    ledger.names[row.split].append(row.name)
    return row


def _check_classes(ledger: Ledger) -> None:
    for split in BOTH_CLASSES:
        clear, works = ledger.counts[split, 0], ledger.counts[split, 1]
        if not clear or not works:
            hint = f"{len(ledger.rejected)} rows were unusable" + (
                f", the first: {ledger.rejected[0].name}: {ledger.rejected[0].detail}" if ledger.rejected else ""
            )
            raise DataError(f"split {split} has {works} roadwork and {clear} clear images; it needs both ({hint})")


def _check_near(ledger: Ledger, bits: int) -> None:
    stacks = {split: np.array(ledger.thumbnails[split]).reshape(-1, 32, 32) for split in SPLITS}
    found = [
        f"  {a}: {ledger.names[a][i]}  =  {b}: {ledger.names[b][j]}  ({distance} bits)"
        for a, b in combinations(SPLITS, 2)
        for i, j, distance in near_pairs(stacks[a], stacks[b], bits)
    ]
    if found:
        more = [f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        head = f"{len(found)} near-duplicates across splits; give the two of a pair one place (group), or remove one:"
        raise DataError("\n".join([head, *found[:SHOWN], *more]))


def _write_quarantine(path: Path, rejected: list[Rejected]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "name", "reason", "detail"])
    writer.writerows([item.source, item.name, item.reason, item.detail] for item in rejected)
    write_bytes(path, text.getvalue().encode())


def _counts(ledger: Ledger) -> dict[str, Any]:
    splits = {
        split: {"roadwork": ledger.counts[split, 1], "none": ledger.counts[split, 0], "places": 0} for split in SPLITS
    }
    for split in ledger.splits.values():
        splits[split]["places"] += 1
    reasons = Counter(item.reason for item in ledger.rejected)
    return {**splits, "duplicates": ledger.duplicates, "quarantined": len(ledger.rejected), "reasons": dict(reasons)}
