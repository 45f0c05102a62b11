"""data/labelled: the pictures of mined batches whose label a person has confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.common.metrics import write_metrics
from tasks.common.files import new_folder, sha256_file, write_json
from tasks.data.batches import BATCH, HARD_CASES, MANIFEST, MINED, check_batch, find_batches
from tasks.data.reviews import REVIEWS, Review, read_reviews, write_file
from tasks.data.schema import DataError, arrow_schema, check_columns, read_records

LABELLED, TRAIN = Path("data/labelled"), "train.parquet"
REPORT = Path("reports/label/metrics.json")
HEADLINE = ("accepted", "rejected")
TRUTH = "pool"  # the reviews that `write_truth` writes
STATES = ("accepted", "rejected", "unreviewed")


@dataclass(frozen=True)
class LabelPaths:
    """Folders that labelling reads (mined, hard_cases, reviews) and writes (labelled), and its report."""

    mined: Path = MINED
    hard_cases: Path = HARD_CASES
    reviews: Path = REVIEWS
    labelled: Path = LABELLED
    report: Path = REPORT


def write_labelled(paths: LabelPaths | None = None) -> dict[str, Any]:
    """Write `train.parquet`, which may hold no row, and `manifest.json` into the folder `labelled`.

    Returns:
        Counts, as written to the report: batches, pictures, accepted, roadwork, rejected, unreviewed, and unknown, the
        reviews that name a picture of no batch.

    Raises:
        DataError: a batch is damaged, or reviews contradict each other.
    """
    paths = paths or LabelPaths()
    reviews = read_reviews(paths.reviews)
    batches = find_batches(paths.mined, paths.hard_cases)
    states: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for record in _pictures(batches):
        digest = record["sha256"]
        if digest not in states:
            states[digest] = _state(reviews.get(digest))
            if states[digest] == "accepted":
                rows[digest] = _labelled(record, reviews[digest])
    counts = _counts(states, rows, reviews) | {"batches": len(batches)}
    _write(paths.labelled, [rows[digest] for digest in sorted(rows)], counts)
    write_metrics(paths.report, counts, HEADLINE)
    return counts


def write_truth(source: Path, reviews: Path = REVIEWS) -> int:
    """Write reviews of every picture of a labelled parquet file, in the name of the renderer; gives their number.

    Raises:
        DataError: the file cannot be read or lacks a label.
    """
    found = []
    for record in _checked(source):
        if record["label"] not in (0, 1):
            raise DataError(f"{source}: label of {record['sha256']} is {record['label']}; expected 0 or 1")
        found.append(Review(record["sha256"], "accept", int(record["label"]), "renderer", TRUTH))
    write_file(reviews / f"{TRUTH}.csv", found)
    return len(found)


def _pictures(batches: list[Path]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        check_batch(batch)
        yield from _checked(batch / BATCH)


def _checked(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that has our columns, one at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: not a parquet file that can be read: {error}") from None
    check_columns(file, schema)
    if missing := [name for name in arrow_schema().names if name not in schema.names]:
        raise DataError(f"{file}: missing column {', '.join(map(repr, missing))}")
    return read_records(file, arrow_schema().names)


def _state(review: Review | None) -> str:
    if review is None:
        return "unreviewed"
    return "rejected" if review.label is None else "accepted"


def _labelled(record: dict[str, Any], review: Review) -> dict[str, Any]:
    """A row as training takes it; boxes of roadwork objects contradict the label `none`."""
    return {**record, "label": review.label, "source": "mined", "objects": record["objects"] if review.label else []}


def _counts(
    states: Mapping[str, str], rows: Mapping[str, dict[str, Any]], reviews: Mapping[str, Review]
) -> dict[str, Any]:
    counted = Counter(states.values())
    return {
        **{state: counted[state] for state in STATES},
        "roadwork": sum(row["label"] for row in rows.values()),
        "pictures": len(states),
        "unknown": len(reviews.keys() - states),
    }


def _write(folder: Path, rows: list[dict[str, Any]], counts: dict[str, Any]) -> None:
    """The manifest is written last: where it is, the rest is complete."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with new_folder(folder) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema()), partial / TRAIN)
        files = {TRAIN: sha256_file(partial / TRAIN)}
        write_json(partial / MANIFEST, {"files": files, "counts": counts, "pictures": [row["sha256"] for row in rows]})
